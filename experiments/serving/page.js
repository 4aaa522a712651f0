'use strict';

const byId = (id) => document.getElementById(id);
const form = byId('ask');
const chooser = byId('file');
const text = byId('text');

let about = null; // What the run takes, of /api/run.
let asked = null; // Files that the shown answer is of; null of a text.
let saved = []; // Addresses of the files of the shown answer.
let latest = 0; // Number of the last question; earlier answers are dropped.

// Makes an element; texts are never taken for HTML.
function element(name, content = '', attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  return made;
}

const shortened = (size) => `${+(size / 1e6).toPrecision(3)} MB`;

function say(message, error = '') {
  byId('status').textContent = message;
  byId('error').textContent = error;
}

// What the run is.

async function introduce() {
  const response = await fetch('/api/run');
  about = await response.json();
  document.title = byId('run').textContent = about.run;
  const facts = [`step ${about.step.toLocaleString('en')}`];
  if (about.data !== about.run) {
    facts.unshift(about.data);
  }
  if (about.classes.length) {
    facts.push(`${about.classes.length.toLocaleString('en')} classes`);
  }
  byId('about').textContent = facts.join(' · ');
  byId('about').title = about.classes.slice(0, 100).join(', ');
  byId('typed').hidden = !about.text;
  byId('text-hint').textContent = 'Ctrl + Enter asks, too.';
  if (about.cells.length) {
    layOut(about.cells);
    return;
  }
  chooser.accept = about.extensions.join(',');
  chooser.multiple = about.files > 1;
  byId('kinds').textContent =
    `${about.extensions.map((each) => each.slice(1)).join(', ')}; ` +
    `at most ${about.max_megabytes} MB`;
  byId('example').textContent = example();
  invite([]);
}

// A form of parts, in place of a file or a text.
function layOut(cells) {
  byId('cell-list').replaceChildren(...cells.map(cellField));
  byId('cells').hidden = false;
  byId('drop').hidden = true;
  chooser.disabled = text.disabled = true;
  byId('example').textContent = example();
}

function cellField(cell, i) {
  const field = element(cell.long ? 'textarea' : 'input', '', {
    id: `cell-${i}`,
    name: cell.name,
    autocomplete: 'off',
  });
  const parts = [element('label', cell.name, { for: field.id }), field];
  if (cell.extensions.length) {
    field.type = 'file';
    field.accept = cell.extensions.join(',');
  } else if (cell.choices.length) {
    field.setAttribute('list', `choices-${i}`);
    const choices = cell.choices.map((each) =>
      element('option', '', { value: each }),
    );
    parts.push(element('datalist', choices, { id: `choices-${i}` }));
  }
  return element('div', parts, { class: 'cell' });
}

function example() {
  const address = `${location.origin}/api/predict`;
  if (about.cells.length) {
    const parts = about.cells.map(({ name, extensions }) => {
      const value = extensions.length ? `@a${extensions[0]}` : '…';
      return `-F ${JSON.stringify(`${name}=${value}`)}`;
    });
    return `curl ${parts.join(' ')} ${address}`;
  }
  if (about.text) {
    return `curl --json '{"text": "…"}' ${address}`;
  }
  const files = Array.from(
    { length: about.files },
    (_, i) => `-F file=@${'abcdefgh'[i]}${about.extensions[0]}`,
  );
  return `curl ${files.join(' ')} ${address}`;
}

function invite(held) {
  const missing = about.files - held.length;
  const names = held.map((each) => each.name).join(' → ');
  let title = about.files > 1 ? `Drop ${about.files} files here` : '';
  if (held.length && missing > 0) {
    title = `${names} → ?`;
  }
  byId('drop-title').textContent =
    title || (about.text ? 'Or drop a file here' : 'Drop a file here');
  byId('drop-hint').replaceChildren(
    ...(held.length && missing > 0
      ? [`now ${missing} more`]
      : ['or ', element('u', about.files > 1 ? 'choose them' : 'choose one')]),
  );
}

// Questions.

let held = []; // Files of an input that is not complete.

function take(files) {
  if (!files.length || !about || about.cells.length) {
    return;
  }
  held = files.length >= about.files ? [...files] : [...held, ...files];
  if (held.length < about.files) {
    say('');
    invite(held);
    return;
  }
  const chosen = held;
  held = [];
  invite([]);
  const size = chosen.reduce((sum, file) => sum + file.size, 0);
  const limit = 1e6 * about.max_megabytes;
  if (size > limit) {
    say('', `That is ${shortened(size)}, and the limit is ${shortened(limit)}.`);
    return;
  }
  const body = new FormData();
  chosen.forEach((file) => body.append('file', file));
  ask(chosen, body, {});
}

function askCells() {
  ask(null, new FormData(form), {});
}

function askText() {
  ask(null, JSON.stringify({ text: text.value }), {
    'Content-Type': 'application/json',
  });
}

// Of files, or of a text where they are null.
async function ask(files, body, headers) {
  const number = ++latest;
  say('Asking …');
  byId('answer').classList.add('waiting');
  const slow = setTimeout(() => {
    say('Asking … The first answers take longest: the model is compiled.');
  }, 2500);
  try {
    const response = await fetch('/api/predict?show=1', {
      method: 'POST',
      body,
      headers,
    });
    const reply = await response.json();
    if (number === latest) {
      response.ok ? show(files, reply) : refuse(reply.error);
    }
  } catch (error) {
    if (number === latest) {
      refuse('The server does not answer. Is it still running?');
    }
  } finally {
    clearTimeout(slow);
  }
}

function refuse(message) {
  byId('answer').hidden = true;
  say('', message);
}

// Answers.

function show(files, reply) {
  asked = files;
  say('');
  const section = byId('answer');
  section.classList.remove('waiting');
  byId('name').textContent = files ? reply.input : 'Answer';
  byId('told').textContent =
    reply.parts > 1 ? `${reply.parts} parts, together` : '';
  // Elements that the server made; nothing that a sender wrote is HTML there.
  byId('said').innerHTML = reply.said;
  if (reply.views.length === 1) {
    reply.views[0].name =
      reply.parts > 1
        ? 'The first part, as the model is given it'
        : 'What the model is given';
  }
  byId('views').replaceChildren(...reply.views.map(figure));
  section
    .querySelector('.columns')
    .classList.toggle('broad', reply.views.length > 2);
  showFiles(reply.files);
  offerParts(reply.parts);
  byId('look').hidden = !about.attention;
  form.classList.add('asked');
  section.hidden = false;
  section.scrollIntoView({ block: 'nearest' });
}

function figure(view) {
  const shown = element('div');
  shown.innerHTML = view.html;
  for (const image of shown.querySelectorAll('img')) {
    image.alt ||= view.name;
  }
  return element('figure', [element('figcaption', view.name), shown]);
}

function showFiles(files) {
  saved.forEach((address) => URL.revokeObjectURL(address));
  saved = files.map(({ type, base64 }) => {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    return URL.createObjectURL(new Blob([bytes], { type }));
  });
  const links = files.map(({ name }, i) =>
    element('a', `Save ${name}`, {
      class: 'file',
      href: saved[i],
      download: name,
    }),
  );
  byId('files').replaceChildren(...links);
  const film = files.findIndex(({ type }) => type.startsWith('video/'));
  byId('film').hidden = film < 0;
  byId('film').src = film < 0 ? '' : saved[film];
}

function offerParts(count) {
  byId('parts').hidden = count < 2 || !about.attention;
  byId('part').replaceChildren(
    ...Array.from({ length: count }, (_, i) =>
      element('option', `${i}`, { value: i }),
    ),
  );
}

// What a person does.

form.addEventListener('submit', (event) => {
  if (event.submitter !== byId('look')) {
    event.preventDefault();
    about.cells.length ? askCells() : askText();
    return;
  }
  // The browser itself sends what was asked last, and opens the page.
  event.submitter.formAction = `/api/attention?part=${byId('part').value}`;
  if (about.cells.length) {
    return;
  }
  if (asked) {
    const transfer = new DataTransfer();
    asked.forEach((file) => transfer.items.add(file));
    chooser.files = transfer.files;
  }
  const other = asked ? text : chooser;
  other.disabled = true;
  setTimeout(() => {
    other.disabled = false;
  });
});
// So that the same file, changed meanwhile, is a change.
chooser.addEventListener('click', () => {
  chooser.value = '';
});
chooser.addEventListener('change', () => take(chooser.files));
text.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    askText();
  }
});
document.addEventListener('paste', (event) => {
  take(event.clipboardData.files);
});
for (const type of ['dragenter', 'dragover']) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    byId('drop').classList.add('over');
  });
}
for (const type of ['dragleave', 'drop']) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    byId('drop').classList.remove('over');
  });
}
document.addEventListener('drop', (event) => take(event.dataTransfer.files));

introduce().catch(() => refuse('The server does not answer.'));
