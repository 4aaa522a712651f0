// The page: which latent, depth and place of the input are looked at, and what
// is shown of them. `INPUTS` and `data` are in drawing.js.
//
// Rows are all latents together (row 0), then one latent each. Bytes are levels
// of brightness: b is (b / 255)^2 times `full` of its row and depth, which is
// counted in the attention of an average place.

const find = selector => document.querySelector(selector);
const state = {depth: data.depths - 1, row: 0, input: null, cell: -1};

const inputs = data.inputs.map(spec => {
  const bytes = Uint8Array.from(atob(spec.levels), c => c.charCodeAt(0));
  const size = spec.cells.reduce((product, side) => product * side, 1);
  const shown = new INPUTS[spec.kind](spec);
  return {
    spec, size, shown,
    values(depth, row) {
      const start = (depth * data.rows + row) * size;
      return bytes.subarray(start, start + size);
    },
  };
});

const name = row => row ? `Latent ${data.latents[row - 1]}` : 'All latents';
const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)}\u00a0%`;
const fine = x => percent(x, x < 0.1 ? 2 : 0);

// Builds what does not change.
for (const input of inputs) {
  const figure = make('figure');
  if (inputs.length > 1) {
    figure.append(make('figcaption', {}, input.spec.name));
  }
  figure.append(input.shown.element);
  find('.inputs').append(figure);
  const element = input.shown.element;
  for (const event of ['pointermove', 'pointerdown']) {
    element.addEventListener(
      event, e => lookAt(input, input.shown.cellAt(e)));
  }
  element.addEventListener('pointerleave', e => {
    if (e.pointerType === 'mouse') lookAt(null, -1);
  });
  element.addEventListener('keydown', e => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
                  ArrowDown: [0, 1]}[e.key];
    if (!step) return;
    e.preventDefault();
    const cell = state.input === input ? state.cell : -1;
    lookAt(input, input.shown.step(cell, ...step));
  });
}

const tabs = Array.from({length: data.depths}, (_, depth) => {
  const tab = make('button', {role: 'tab', type: 'button'},
                   `Cross-attend ${depth + 1}`);
  tab.addEventListener('click', () => goTo(depth));
  tab.addEventListener('keydown', e => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[e.key];
    if (step) { goTo(depth + step); tabs[state.depth].focus(); }
  });
  find('.depths').append(tab);
  return tab;
});
find('.depths').hidden = data.depths < 2;

const buttons = Array.from({length: data.rows}, (_, row) => {
  const button = make('button', {role: 'radio', type: 'button'},
                      row ? String(data.latents[row - 1]) : 'All');
  button.addEventListener('click', () => pick(row === state.row ? 0 : row));
  button.addEventListener('keydown', e => moveAmongLatents(e, row));
  find('.latents').append(button);
  return button;
});

const small = Array.from({length: data.depths}, (_, depth) => {
  const button = make('button', {type: 'button'});
  button.addEventListener('click', () => goTo(depth));
  find('.all-depths').append(button);
  return button;
});
find('.all-depths').hidden = data.depths < 2;
find('.all-depths-title').hidden = data.depths < 2;

document.addEventListener('keydown', e => {
  if (e.key === '[') goTo(state.depth - 1);
  if (e.key === ']') goTo(state.depth + 1);
  if (e.key === 'Escape') pick(0);
});

function moveAmongLatents(event, row) {
  const tops = buttons.map(button => button.offsetTop);
  const across = tops.filter(top => top === tops[0]).length;
  const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across,
                ArrowDown: across, Home: -row, End: data.rows - 1 - row};
  if (!(event.key in step)) return;
  event.preventDefault();
  pick(clamp(row + step[event.key], data.rows - 1));
  buttons[state.row].focus();
}

function pick(row) {
  state.row = row;
  showInputs();
  showPicked();
  showPlace();
}

function goTo(depth) {
  state.depth = clamp(depth, data.depths - 1);
  showInputs();
  showLatents();
  showPicked();
  showPlace();
}

function lookAt(input, cell) {
  if (state.input === input && state.cell === cell) return;
  [state.input, state.cell] = [cell < 0 ? null : input, cell];
  showInputs();
  showPlace();
}

function showInputs() {
  for (const input of inputs) {
    const cell = input === state.input ? state.cell : -1;
    input.shown.draw(input.values(state.depth, state.row), cell);
  }
}

// Small pictures of a row of weights, one for each input.
function thumbnails(depth, row) {
  return inputs.map(input => {
    const canvas = input.shown.thumbnail(input.values(depth, row));
    canvas.classList.toggle('coarse', canvas.width <= 24);
    return canvas;
  });
}

function showLatents() {
  tabs.forEach((tab, depth) => {
    tab.setAttribute('aria-selected', depth === state.depth);
    tab.tabIndex = depth === state.depth ? 0 : -1;
  });
  buttons.forEach((button, row) => {
    button.querySelectorAll('canvas').forEach(canvas => canvas.remove());
    button.prepend(...thumbnails(state.depth, row));
  });
}

// How often the attention of an average place a row gives to this one.
function lift(row) {
  const level = state.input.values(state.depth, row)[state.cell] / 255;
  return level * level * data.full[state.depth * data.rows + row];
}

function showPlace() {
  const lifts = buttons.map((_, row) => state.input ? lift(row) : 0);
  buttons.forEach((button, row) => {
    // Full for looking at nothing else.
    const strength = row ? Math.log1p(lifts[row]) / Math.log1p(data.inputs_in_all)
      : 0;
    button.style.setProperty('--strength', strength.toFixed(3));
  });
  find('.place').textContent = state.input ? inWords(lifts)
    : 'Move over the input to see which latents look there.';
}

function inWords(lifts) {
  const times = row => lifts[row].toFixed(lifts[row] < 10 ? 1 : 0);
  const place = state.input.shown.place(state.cell);
  const most = [...lifts.keys()].slice(1).filter(row => lifts[row] >= 0.5)
    .sort((a, b) => lifts[b] - lifts[a]).slice(0, 3)
    .map(row => `${name(row).toLowerCase()} (${times(row)})`);
  const who = most.length ? 'Most attention here, in times that of an ' +
    `average place: ${most.join(', ')}.` : 'Hardly any latent looks here.';
  return `${place[0].toUpperCase()}${place.slice(1)}. ${who} ` +
    `${name(state.row)}: ${times(state.row)}.`;
}

function showPicked() {
  const at = state.depth * data.rows + state.row;
  buttons.forEach((button, row) => {
    const picked = row === state.row;
    const entropy = percent(data.entropy[state.depth * data.rows + row]);
    button.setAttribute('aria-checked', picked);
    button.setAttribute('aria-label', `${name(row)}, entropy ${entropy}`);
    button.tabIndex = picked ? 0 : -1;
  });
  const shares = Object.entries(data.shares)
    .map(([modality, share]) => `${fine(share[at])} to ${modality}`);
  const covered = fine(data.coverage[at]);
  find('.picked').textContent =
    `${name(state.row)} at cross-attend ${state.depth + 1}: ` +
    `entropy ${percent(data.entropy[at])}; 90 % of the attention is on ` +
    `${covered} of the input` +
    (shares.length > 1 ? `; it gives ${shares.join(', ')}.` : '.');
  small.forEach((button, depth) => {
    button.replaceChildren(
      ...thumbnails(depth, state.row), `cross-attend ${depth + 1}`);
    button.setAttribute('aria-pressed', depth === state.depth);
    button.setAttribute(
      'aria-label', `${name(state.row)} at cross-attend ${depth + 1}`);
  });
}

const ramp = [0, 63, 127, 191, 255].map(byte => `rgb(${COLOURS[byte]})`);
find('.legend i').style.background = `linear-gradient(90deg, ${ramp})`;
goTo(state.depth);
