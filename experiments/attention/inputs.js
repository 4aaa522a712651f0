// Inputs of one axis: curves, points, texts; see attention_drawing.js.

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

// Points in space, y up, which can be turned.
class Cloud extends OnCanvas {
  constructor(spec) {
    super(spec);
    this.count = spec.cells[0];
    this.turn = 0.7;
    this.tilt = 0.45;
    let held = null;
    this.canvas.addEventListener('pointerdown', event => {
      held = [event.clientX, event.clientY];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener('pointermove', event => {
      if (!held) return;
      this.turn += (event.clientX - held[0]) / 120;
      this.tilt += (event.clientY - held[1]) / 120;
      held = [event.clientX, event.clientY];
      this.redraw();
    });
    for (const name of ['pointerup', 'pointercancel']) {
      this.canvas.addEventListener(name, () => { held = null; });
    }
    this.canvas.setAttribute(
      'aria-label', `${spec.name}. Drag or use the arrow keys to turn it.`);
  }

  height(width) { return Math.min(width * 0.85, 0.7 * window.innerHeight); }

  // [x, y, depth] of each point, in [-1, 1].
  projected() {
    const [ct, st] = [Math.cos(this.turn), Math.sin(this.turn)];
    const [cu, su] = [Math.cos(this.tilt), Math.sin(this.tilt)];
    const points = [];
    for (let i = 0; i < this.count; i++) {
      const [a, up, c] = [0, 1, 2].map(
        k => this.spec.points[3 * i + k] / 1000);
      const across = ct * a + st * c;
      const away = st * a - ct * c;
      points.push([across, su * away - cu * up, cu * away + su * up]);
    }
    return points;
  }

  paint(context, width, height) {
    const points = this.projected();
    const scale = Math.min(width, height) * 0.48;
    const order = [...points.keys()].sort((i, j) => points[j][2] - points[i][2]);
    this.places = points.map(
      ([x, y]) => [width / 2 + scale * x, height / 2 + scale * y]);
    for (const i of order) {
      const nearness = 0.5 - 0.3 * points[i][2];
      const byte = this.values ? this.values[i] : 0;
      const radius = (1.4 + 1.8 * nearness) * (1 + 0.9 * byte / 255);
      const grey = `rgba(150,160,190,${clamp(0.25 + 0.6 * nearness, 1)})`;
      context.fillStyle = byte > 40 ? css(byte) : grey;
      context.beginPath();
      context.arc(...this.places[i], radius, 0, 7);
      context.fill();
    }
    if (this.cell >= 0) {
      const [x, y] = this.places[this.cell];
      outline(context, x - 5, y - 5, 10, 10);
    }
  }

  thumbnail(values) {
    const side = 64;
    const canvas = make('canvas', {width: side, height: side});
    const context = canvas.getContext('2d');
    context.fillStyle = `rgb(${DARK})`;
    context.fillRect(0, 0, side, side);
    const points = this.projected();
    const order = [...points.keys()].sort((i, j) => values[i] - values[j]);
    for (const i of order) {
      context.fillStyle = values[i] > 40 ? css(values[i]) : 'rgb(58,60,76)';
      const [x, y] = points[i];
      context.fillRect(side * (0.5 + 0.45 * x) - 1,
                       side * (0.5 + 0.45 * y) - 1, 2, 2);
    }
    return canvas;
  }

  cellOf(x, y, width, height) {
    let [best, nearest] = [-1, 18 ** 2];
    (this.places || []).forEach(([px, py], i) => {
      const apart = (px - x * width) ** 2 + (py - y * height) ** 2;
      if (apart < nearest) [best, nearest] = [i, apart];
    });
    return best;
  }

  step(cell, dx, dy) {
    this.turn += 0.15 * dx;
    this.tilt += 0.15 * dy;
    this.redraw();
    return cell;
  }

  place(cell) {
    const at = [0, 1, 2].map(
      k => (this.spec.points[3 * cell + k] / 1000).toFixed(2));
    return `point (${at.join(', ')})`;
  }
}

// A text, a box for each character.
class Words {
  constructor(spec) {
    this.spec = spec;
    this.boxes = spec.pieces.map((piece, i) => make(
      'span', {'data-cell': i}, piece === '\n' ? '⏎\n' : piece));
    this.element = make('div', {
      class: 'input text', tabindex: 0, role: 'group', lang: '',
      'aria-label': `${spec.name}. Arrow keys move over it.`,
    }, ...this.boxes);
  }

  draw(values, cell) {
    this.boxes.forEach((box, i) => {
      const byte = values ? values[i] : 0;
      const strength = Math.pow(byte / 255, 1.5);
      box.style.backgroundColor = `rgba(255, 130, 20, ${strength.toFixed(3)})`;
      box.style.color = strength > 0.5 ? '#14141a' : '';
      box.classList.toggle('marked', i === cell);
    });
  }

  thumbnail(values) {
    const columns = Math.ceil(Math.sqrt(4 * values.length));
    const rows = Math.ceil(values.length / columns);
    const filled = new Uint8Array(rows * columns);
    filled.set(values);
    return paint(columns, rows, filled, (x, y) => y * columns + x, true);
  }

  cellAt(event) {
    const box = event.target.closest('[data-cell]');
    return box ? Number(box.dataset.cell) : -1;
  }

  step(cell, dx, dy) {
    return clamp(Math.max(cell, 0) + dx + 10 * dy, this.boxes.length - 1);
  }

  place(cell) {
    return `“${this.spec.pieces[cell]}”, character ${cell + 1} of ` +
      this.boxes.length;
  }
}

const INPUTS = {
  image: Picture, spectrogram: Picture, video: Frames, curves: Curves,
  points: Cloud, text: Words,
};
