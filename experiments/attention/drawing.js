// What is common to all inputs that are drawn, and their colours.
//
// An input has: `element`, to be put on the page; `draw(values, cell)`, which
// shows attention, a byte for each cell, and marks a cell (-1: none);
// `cellAt(event)`; `step(cell, dx, dy)`, the cell beside another; `place(cell)`,
// where it is in words; `thumbnail(values)`, a small picture.

// Classes of inputs by their kinds; the script of each adds its own.
const INPUTS = {};
const data = JSON.parse(document.getElementById('data').textContent);
const DARK = data.ramp[0].slice(1);
// Colours of the bytes 0 to 255.
const COLOURS = Array.from({length: 256}, (_, byte) => {
  const k = data.ramp.findIndex(([end]) => byte <= end) || 1;
  const [[start, ...from], [end, ...to]] = [data.ramp[k - 1], data.ramp[k]];
  const share = (byte - start) / (end - start);
  return from.map((c, i) => Math.round(c + share * (to[i] - c)));
});
// Over an input, little attention is faint, not dark.
const opacity = byte => 0.85 * Math.pow(byte / 255, 0.7);
const over = byte => COLOURS[Math.round(120 + byte * 135 / 255)];
const css = (byte, alpha = 1) => `rgba(${over(byte).join()},${alpha})`;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Paints bytes, a pixel each, onto a canvas of that size. `cellAt(x, y)` is the
// number of the cell there.
function paint(width, height, values, cellAt, opaque) {
  const canvas = make('canvas', {width, height});
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const byte = values[cellAt(x, y)];
      const pixel = opaque ? [...COLOURS[byte], 255]
        : [...over(byte), Math.round(255 * opacity(byte))];
      image.data.set(pixel, 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function loaded(source) {
  const image = new Image();
  image.src = source;
  return image;
}

const clamp = (x, most) => Math.max(0, Math.min(most, x));
const seconds = x => `${x.toFixed(x < 1 ? 3 : 2)} s`;

// What all inputs on a canvas have in common. Subclasses say how high it is for
// its width, and paint on it in CSS pixels.
class OnCanvas {
  constructor(spec) {
    this.spec = spec;
    this.canvas = make('canvas', {
      tabindex: 0, role: 'img', class: 'input',
      'aria-label': `${spec.name}. Arrow keys move over it.`,
    });
    this.element = this.canvas;
    this.values = null;
    this.cell = -1;
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
  }

  draw(values, cell) {
    this.values = values;
    this.cell = cell;
    this.redraw();
  }

  redraw() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const height = Math.round(this.height(width));
    const density = window.devicePixelRatio || 1;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round(height * density);
    const context = this.canvas.getContext('2d');
    context.scale(density, density);
    context.fillStyle = `rgb(${DARK})`;
    context.fillRect(0, 0, width, height);
    this.paint(context, width, height);
  }

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.cellOf(
      (event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height, box.width, box.height);
  }
}

// Takes the colours and some of the light out of what has been drawn.
function dim(context, left, top, width, height) {
  context.globalCompositeOperation = 'saturation';
  context.fillStyle = 'hsl(0 0% 50%)';
  context.fillRect(left, top, width, height);
  context.globalCompositeOperation = 'source-over';
  context.fillStyle = 'rgba(18,18,24,.35)';
  context.fillRect(left, top, width, height);
}

// A light line with a dark one around it: seen on anything.
function outline(context, left, top, width, height) {
  for (const [colour, line, out] of [['#000', 3, 1], ['#7fe3ff', 1.5, 1]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(left - out, top - out, Math.max(width, 2) + 2 * out,
                       Math.max(height, 2) + 2 * out);
  }
}
