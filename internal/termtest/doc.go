// Package termtest provides terminals for tests: a [Screen] that supports exactly the escape sequences that pix writes, and a
// [Terminal] that runs a command on a pseudo-terminal.
package termtest
