// The bench command measures pix against other implementations at the same work, in one run, and writes a table of
// medians, peaks of memory and ratios as Markdown. It is a separate module, so that pix does not depend on the programs
// against which it is measured.
//
//	cd bench && go run . [-full] [-only REGEXP] [-rounds N] [-row-time TIME] [-o FILE]
//
// It builds pix and the peers that it needs. Real Nix is the suite sid in $PIX_NIX_DAEMONS (see package
// internal/realnix). -go-nix DIR names a checkout of github.com/numtide/go-nix, which no module proxy has. -daemon
// NAME=SOCKET names a running daemon of another implementation, such as harmonia, whose store directory is /nix/store
// and which trusts this user; the rows about daemons then include it, and add small objects to its store. -harmonia FILE
// names the program harmonia-cache, and nginx is the one in $PATH, for the rows about cache servers. A row whose
// peer is missing is measured without it. Below the table is a list of the missing rows and peers, with reasons. The file is
// written after each row, so an interrupted run leaves the rows before.
//
// # How it measures
//
// The contenders of a row take turns, so that other load on the machine affects all of them. The time is the elapsed
// time, and the median of all rounds counts. With -row-time, a row that takes longer has fewer rounds. Each contender
// that is a program, or a function of a library, runs as a process of its own, so that its peak of memory does not
// contain another contender's. Absolute numbers depend on the machine; the ratios compare the programs.
//
// # Reading order
//
//   - main.go runs the rows in rows.go, and table.go writes them.
//   - measure.go measures processes, and lab.go has the daemons and stores that rows share.
//   - The other files have the rows of one topic each. task.go has the functions that run as processes.
package main
