package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// page prints a text. If it does not fit on the terminal of standard output, a pager shows it. The exit code of the pager has no
// meaning for the verb, except that it could not be started: then the text is printed, so that it is never lost.
func (a *app) page(ctx context.Context, text string) error {
	out, ok := unwrapped(a.stdout).(*os.File)
	pager := a.pager()
	if !ok || pager == "" || fitsOn(out, text) {
		return a.print(text)
	}
	a.progress.end(nil)                         // the live view must not draw on the same terminal
	cmd := exec.Command("/bin/sh", "-c", pager) // the variable may have flags and quotes
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), out, unwrapped(a.stderr)
	if a.getenv("LESS") == "" {
		cmd.Env = append(os.Environ(), "LESS=FRX") // colours, and no own screen
	}
	if err := cmd.Start(); err != nil {
		return a.print(text)
	}
	a.running.set(ctx, cmd.Process) // an interrupt from the terminal is for the pager
	err := cmd.Wait()
	a.running.set(ctx, nil)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && (exit.ExitCode() == 126 || exit.ExitCode() == 127) {
		return a.print(text) // the shell has not found the pager, or cannot run it
	}
	return nil
}

// pageEither prints the object as JSON, or pages the text.
func (a *app) pageEither(ctx context.Context, text string, object any, asJSON bool) error {
	if asJSON {
		return a.printJSON(object)
	}
	return a.page(ctx, text)
}

// pager returns the command of the pager, or "" if there is none.
func (a *app) pager() string {
	if t := a.getenv("TERM"); t == "" || t == "dumb" {
		return ""
	}
	command := cmp.Or(a.getenv("PIX_PAGER"), a.getenv("PAGER"))
	if command == "" {
		if _, err := exec.LookPath("less"); err != nil {
			return ""
		}
		command = "less"
	}
	if command == "cat" {
		return ""
	}
	return command
}

// fitsOn reports whether a text fits on a terminal with the lines of the command and of the next prompt. It is true for other files.
func fitsOn(out *os.File, text string) bool {
	columns, rows, err := term.GetSize(int(out.Fd()))
	if err != nil || columns <= 0 {
		return true
	}
	needed := 2
	for line := range strings.Lines(text) {
		needed += 1 + max(utf8.RuneCountInString(line)-2, 0)/columns // codes of colours count as columns
		if needed > rows {
			return false
		}
	}
	return true
}
