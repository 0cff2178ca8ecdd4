/* Word-level differences between two answers: a longest common subsequence of their words. */

const WORD = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]|[\p{L}\p{M}\p{N}]+(?:['’.:_-][\p{L}\p{M}\p{N}]+)*|[^\s\p{L}\p{M}\p{N}]/gu;
const MOST = 25_000_000; // cells of the table: 5,000 words against 5,000

/* The words below an element, each as {text, node, start}; formulas stay as they are. */
function words(root) {
  const found = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest("math")) continue;
    for (const match of node.data.matchAll(WORD)) found.push({ text: match[0], node, start: match.index });
  }
  return found;
}

/* For each word of one and of other, whether it is in their longest common subsequence. */
function common(one, other) {
  const width = other.length + 1;
  const length = new Uint16Array((one.length + 1) * width);
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      const at = i * width + j;
      const same = one[i].text === other[j].text;
      length[at] = same ? length[at + width + 1] + 1 : Math.max(length[at + width], length[at + 1]);
    }
  }
  const kept = [one.map(() => false), other.map(() => false)];
  for (let i = 0, j = 0; i < one.length && j < other.length; ) {
    const at = i * width + j;
    if (one[i].text === other[j].text) kept[0][i++] = kept[1][j++] = true;
    else if (length[at + width] >= length[at + 1]) i++;
    else j++;
  }
  return kept;
}

/* Mark words; runs within one text node get one element. */
function mark(all, kept) {
  for (let last = all.length - 1; last >= 0; last--) {
    if (kept[last]) continue;
    let first = last;
    while (first > 0 && !kept[first - 1] && all[first - 1].node === all[last].node) first--;
    const range = document.createRange();
    range.setStart(all[first].node, all[first].start);
    range.setEnd(all[last].node, all[last].start + all[last].text.length);
    range.surroundContents(document.createElement("mark"));
    last = first;
  }
}

/** Mark the words of each element that the other lacks; return their number, or NaN if the texts are too long. */
export function markDifferences(left, right) {
  const [one, other] = [words(left), words(right)];
  if ((one.length + 1) * (other.length + 1) > MOST || Math.max(one.length, other.length) > 65_000) return NaN;
  const kept = common(one, other);
  mark(one, kept[0]);
  mark(other, kept[1]);
  return [...kept[0], ...kept[1]].filter((same) => !same).length;
}
