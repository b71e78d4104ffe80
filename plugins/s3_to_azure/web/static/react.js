// React as Airflow's UI provides it; the pages are neither bundled nor built.

export const React = globalThis.React;
export const h = React.createElement;
export const { Fragment, useCallback, useEffect, useId, useMemo, useRef, useState } = React;

// Inside Airflow's UI a link changes the view; elsewhere it is an ordinary link.
const RouterLink = globalThis.ReactRouterDOM?.Link;

/** The address of a path below Airflow's own; one that the browser knows in full is kept. */
const addressOf = (to) => (to.startsWith(location.pathname) ? to : new URL(to.slice(1), document.baseURI).href);

export function Link({ to, children, ...rest }) {
  return RouterLink
    ? h(RouterLink, { to, ...rest }, children)
    : h("a", { href: addressOf(to), ...rest }, children);
}

const STYLES = "s3-to-azure-styles";

/** Load the pages' stylesheet once. */
export function loadStyles() {
  if (document.getElementById(STYLES)) return;
  const link = document.createElement("link");
  link.id = STYLES;
  link.rel = "stylesheet";
  link.href = new URL("style.css", import.meta.url).href;
  document.head.append(link);
}
