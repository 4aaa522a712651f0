// Texts; see attention/drawing.js.

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

INPUTS.text = Words;
