// Package viewtest has the tests of the page of package view in a browser. It is a module of its own, so that pix does not
// depend on the library that drives the browser.
//
// The tests need Chromium, and skip without it. Command demo serves the page over one of their closures.
package viewtest
