// Small hands on the document. Everything that comes from a call goes in by textContent or an attribute that cannot run.

export const $ = (id) => document.getElementById(id);

export function el(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Text from outside, which may run from right to left, apart from what stands beside it. */
export const bdi = (text) => el("bdi", "", text);

/** Replaces what is in `node` where its text or parts change; `parts`: strings and nodes. */
export function setParts(node, ...parts) {
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (node.textContent !== text || node.childNodes.length !== parts.length) node.replaceChildren(...parts);
}

/** Touches the document only where something changes. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setData(node, key, value) {
  if (node.dataset[key] !== value) node.dataset[key] = value;
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}
