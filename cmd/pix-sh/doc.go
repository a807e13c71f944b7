// The pix-sh command is a small POSIX shell without shared libraries. pix mounts it as /bin/sh in sandboxes if the machine has
// no static busybox or bash. Build it with CGO_ENABLED=0 and install it beside pix, which finds it there.
//
//	pix-sh [-aefnux] [-o OPTION] [-c COMMAND [NAME]] [FILE] [ARGUMENT…]
//
// The parser and the interpreter come from mvdan.cc/sh, which runs subshells on goroutines of one process. A builder can observe
// processes: a subshell has an umask, signals and a working directory, `$!` can be killed, and exec keeps the process id. So this
// command rewrites the syntax tree before the interpreter sees it (rewrite.go): a subshell becomes a call of a command that
// starts this program again, with the state of the shell in a pipe (fork.go). Each process thus has one shell environment.
package main
