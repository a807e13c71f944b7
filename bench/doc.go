// The bench command measures pix against its peers at the same work, in one run, and prints
// tables of ratios. It is a module of its own, so that the peers are nobody's dependency.
//
//	go run . DIR...
//
// The directories hold .drv files, such as the unpacked corpora. Absolute numbers say
// something of the machine; the ratios say something of the programs.
package main
