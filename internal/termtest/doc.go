// Package termtest is a terminal for tests: a [Screen] that understands the escape
// sequences that pix writes, and no others, and a pseudo-terminal to run commands on.
package termtest
