// The bench command measures pix against other implementations at the same work, in one run, and prints
// tables of ratios. It is a separate module, so that pix does not depend on them.
//
//	go run . DIR...
//
// The directories contain .drv files, such as the unpacked corpora. Absolute numbers depend
// on the machine; the ratios compare the programs.
package main
