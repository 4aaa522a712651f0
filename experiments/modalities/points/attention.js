// Points; see attention/drawing.js.

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

INPUTS.points = Cloud;
