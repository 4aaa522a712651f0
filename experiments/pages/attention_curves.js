// Inputs over time, such as sounds and measurements; see attention/drawing.js.

// A curve over time: a sound, or measurements.
class Curves extends OnCanvas {
  constructor(spec) {
    super(spec);
    this.count = spec.cells[0];
  }

  height(width) { return clamp(Math.max(width * 0.45, 180), 320); }

  paint(context, width, height) {
    for (let i = 0; this.values && i < this.count; i++) {
      const byte = this.values[i];
      const left = i * width / this.count;
      context.fillStyle = css(byte, opacity(byte));
      context.fillRect(left, 0, width / this.count + 0.5, height);
    }
    this.spec.curves.forEach((curve, k) => {
      context.strokeStyle = this.values ? 'rgba(235,235,245,.85)'
        : `hsl(${(205 + 67 * k) % 360} 75% 72%)`;
      context.lineWidth = 1.2;
      context.beginPath();
      const y = v => (1 - v / 255) * (height - 8) + 4;
      curve.high.forEach((v, i) => {
        const x = (i + 0.5) * width / curve.high.length;
        context.lineTo(x, y(v));
        if (curve.low) context.lineTo(x, y(curve.low[i]));
      });
      context.stroke();
    });
    if (this.cell >= 0) {
      outline(context, this.cell * width / this.count, 1,
              width / this.count, height - 2);
    }
  }

  // The most of each piece of time: a single bright cell is not lost.
  thumbnail(values) {
    const columns = Math.min(this.count, 24);
    const most = new Uint8Array(columns);
    values.forEach((v, i) => {
      const column = Math.floor(i * columns / this.count);
      most[column] = Math.max(most[column], v);
    });
    const canvas = paint(columns, 1, most, x => x, true);
    canvas.style.aspectRatio = 2;
    return canvas;
  }

  cellOf(x) { return clamp(Math.floor(x * this.count), this.count - 1); }

  step(cell, dx) { return clamp(Math.max(cell, 0) + dx, this.count - 1); }

  place(cell) {
    const share = x => x / this.count;
    if (this.spec.seconds) {
      return `${seconds(share(cell) * this.spec.seconds)} to ` +
        `${seconds(share(cell + 1) * this.spec.seconds)}`;
    }
    return `step ${Math.floor(share(cell) * this.spec.steps) + 1} of ` +
      this.spec.steps;
  }
}

INPUTS.curves = Curves;
