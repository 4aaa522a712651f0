// Cells of a table; see attention/drawing.js.

// What a cell says, in a box of its own.
class Box {
  constructor(spec) {
    this.spec = spec;
    this.box = make('span', {'data-cell': 0}, spec.text);
    this.element = make('div', {
      class: 'input text', tabindex: 0, role: 'group', lang: '',
      'aria-label': `${spec.name}: ${spec.text}`,
    }, this.box);
  }

  draw(values, cell) {
    const strength = values ? Math.pow(values[0] / 255, 1.5) : 0;
    this.box.style.backgroundColor =
      `rgba(255, 130, 20, ${strength.toFixed(3)})`;
    this.box.style.color = strength > 0.5 ? '#14141a' : '';
    this.box.classList.toggle('marked', cell === 0);
  }

  thumbnail(values) { return paint(8, 4, values, () => 0, true); }

  cellAt(event) { return event.target.closest('[data-cell]') ? 0 : -1; }

  step() { return 0; }

  place() { return `“${this.spec.text}”`; }
}

INPUTS.cell = Box;
