// Events at any times; see attention/drawing.js.

// Points in a lane for each channel, before cells of time of any width.
class Events extends OnCanvas {
  constructor(spec) {
    super(spec);
    this.count = spec.cells[0];
    this.edges = [...spec.begins, 1];
  }

  height(width) {
    return clamp(Math.max(width * 0.45, 24 * this.spec.lanes.length), 420);
  }

  paint(context, width, height) {
    const lane = height / this.spec.lanes.length;
    for (let i = 0; this.values && i < this.count; i++) {
      const byte = this.values[i];
      context.fillStyle = css(byte, opacity(byte));
      context.fillRect(this.edges[i] * width, 0, this.across(i) * width + 0.5,
                       height);
    }
    this.spec.lanes.forEach(({x, y}, k) => {
      context.fillStyle = this.values ? 'rgba(235,235,245,.85)'
        : `hsl(${(205 + 67 * k) % 360} 75% 72%)`;
      x.forEach((at, i) => {
        context.beginPath();
        const down = (k + 0.05 + 0.9 * (1 - y[i])) * lane;
        context.arc(at * width, down, 1.8, 0, 2 * Math.PI);
        context.fill();
      });
    });
    if (this.cell >= 0) {
      outline(context, this.edges[this.cell] * width, 1,
              Math.max(2, this.across(this.cell) * width), height - 2);
    }
  }

  across(cell) { return this.edges[cell + 1] - this.edges[cell]; }

  // The most of each piece of time: a single bright cell is not lost.
  thumbnail(values) {
    const columns = 24;
    const most = new Uint8Array(columns);
    values.forEach((v, i) => {
      const last = Math.ceil(this.edges[i + 1] * columns);
      for (let k = Math.floor(this.edges[i] * columns);
           k < Math.min(columns, last); k++) {
        most[k] = Math.max(most[k], v);
      }
    });
    const canvas = paint(columns, 1, most, x => x, true);
    canvas.style.aspectRatio = 2;
    return canvas;
  }

  cellOf(x) {
    const next = this.edges.findIndex(edge => edge > x);
    return clamp((next < 0 ? this.count : next) - 1, this.count - 1);
  }

  step(cell, dx) { return clamp(Math.max(cell, 0) + dx, this.count - 1); }

  place(cell) { return `${this.spec.places[cell]} from the last event`; }
}

INPUTS.events = Events;
