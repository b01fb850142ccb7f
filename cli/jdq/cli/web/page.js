// Keeps a page up to date: the server sends its changing part again whenever it differs.
"use strict";

// Makes `old` like `now`, element by element, so that focus, selection and scroll positions stay.
function morph(old, now) {
  if (old.isEqualNode(now)) return;
  if (old.nodeName !== now.nodeName) return old.replaceWith(now);
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.data = now.data);
  for (const { name, value } of now.attributes) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (name !== "open" && !now.hasAttribute(name)) old.removeAttribute(name);
  children(old, now);
}

function children(old, now) {
  let next = old.firstChild;
  for (const child of [...now.childNodes]) {
    const same = child.id && [...old.children].find(each => each.id === child.id);
    if (same) {
      if (same !== next) old.insertBefore(same, next);
      next = same.nextSibling;
      morph(same, child);
    } else if (next && !next.id) {
      const one = next;
      next = next.nextSibling;
      morph(one, child);
    } else {
      old.insertBefore(child, next);
    }
  }
  while (next) {
    const one = next;
    next = next.nextSibling;
    one.remove();
  }
}

function watch(live) {
  const stale = document.getElementById("stale");
  let source = null;
  // A browser keeps only six connections to a host: a page that nobody looks at gives its own back.
  const open = () => {
    source?.close();
    source = null;
    if (document.hidden) return;
    source = new EventSource(location.pathname + location.search);
    source.onopen = () => (stale.hidden = true);
    source.onerror = () => {
      stale.hidden = false;
      // After an answer that is no stream, a browser does not try again: the login has ended, or a proxy answered.
      if (source?.readyState === EventSource.CLOSED) setTimeout(again, 2000);
    };
    source.onmessage = event => {
      const now = new DOMParser().parseFromString(event.data, "text/html").body;
      children(live, now);
    };
  };
  const again = () => fetch("/login").then(answer => (answer.status === 401 ? location.reload() : open()), open);
  document.addEventListener("visibilitychange", open);
  open();
}

function login(form) {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", location.pathname + location.search);
    form.elements.token.value = token;
    form.submit();
  } else {
    // Who follows a link from another site comes without the cookie, and has it when this page asks.
    fetch("/login").then(answer => answer.status === 204 && location.replace(location.href));
  }
}

const live = document.getElementById("live");
if (live) watch(live);
const form = document.getElementById("login");
if (form) login(form);
