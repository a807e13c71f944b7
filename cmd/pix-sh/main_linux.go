package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == forkFlag {
		os.Exit(runFork(os.Args[2]))
	}
	os.Exit(runMain(os.Args))
}

// An invocation is what the command line asks for.
type invocation struct {
	flags   []string // options of set
	command string   // of -c
	isText  bool     // -c
	isInput bool     // -s
	words   []string // the words after the options
}

// parseArguments parses the arguments of the command.
func parseArguments(args []string) (*invocation, error) {
	inv := &invocation{}
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		for _, c := range arg[1:] {
			switch {
			case strings.ContainsRune("aefnux", c):
				inv.flags = append(inv.flags, arg[:1]+string(c))
			case c == 'c' && arg[0] == '-':
				inv.isText = true
			case c == 's' && arg[0] == '-':
				inv.isInput = true
			case c == 'o' && len(args) > 0:
				inv.flags = append(inv.flags, arg[:1]+"o", args[0])
				args = args[1:]
			case strings.ContainsRune("bhilm", c): // these change only shells with a terminal
			default:
				return nil, fmt.Errorf("unknown option %s%c", arg[:1], c)
			}
		}
	}
	if len(args) > 0 && args[0] == "-" {
		args = args[1:]
	}
	if inv.isText {
		if len(args) == 0 {
			return nil, errors.New("-c needs an argument")
		}
		inv.command, args = args[0], args[1:]
	}
	inv.words = args
	return inv, nil
}

// runMain runs the command and returns its exit code.
func runMain(args []string) int {
	name := "sh"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	fail := func(code int, err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return code
	}
	inv, err := parseArguments(args)
	if err != nil {
		return fail(2, err)
	}
	fds := inheritedFiles()
	var script io.Reader = oneByteReader{os.Stdin}
	words := inv.words
	switch {
	case inv.isText:
		script = strings.NewReader(inv.command)
		if len(words) > 0 {
			name, words = words[0], words[1:]
		}
	case len(words) > 0 && !inv.isInput:
		text, err := os.ReadFile(words[0])
		if errors.Is(err, unix.ENOENT) {
			return fail(127, err)
		}
		if err != nil {
			return fail(126, err)
		}
		name, words = words[0], words[1:]
		script = strings.NewReader(string(text))
	}
	pid, parent := strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getppid())
	s, err := newShell(name, initialEnviron(os.Environ(), pid, parent), "", fds)
	if err != nil {
		return fail(2, err)
	}
	if err := s.setOptions(inv.flags, words); err != nil {
		return fail(2, err)
	}
	if inv.isText { // the text may have more lines, and only the last one can replace this process
		whole, err := newParser().Parse(strings.NewReader(inv.command), name)
		s.isCommand = err == nil && len(whole.Stmts) == 1
	}
	return s.runScript(script)
}

// A oneByteReader reads one byte at a time. Commands of a script on stdin may read the lines after their own, so the shell must
// not read ahead.
type oneByteReader struct{ f *os.File }

func (r oneByteReader) Read(p []byte) (int, error) { return r.f.Read(p[:min(len(p), 1)]) }

// setOptions sets options and positional parameters.
func (s *shell) setOptions(flags, params []string) error {
	if len(flags) > 0 {
		if err := interp.Params(flags...)(s.runner); err != nil {
			return err
		}
	}
	if len(params) > 0 {
		return interp.Params(append([]string{"--"}, params...)...)(s.runner)
	}
	return nil
}

// runScript runs a script line by line, then the trap of EXIT, and returns the exit code. A syntax error ends the script, and
// the commands before it have run.
func (s *shell) runScript(script io.Reader) int {
	parser := newParser()
	script = io.MultiReader(script, strings.NewReader("\n")) // the parser returns whole lines
	for stmts, err := range parser.InteractiveSeq(script) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
			s.status = 2
			break
		}
		if parser.Incomplete() || len(stmts) == 0 {
			continue
		}
		if s.run(stmts) {
			return s.exit()
		}
	}
	if parser.Incomplete() {
		fmt.Fprintf(os.Stderr, "%s: unexpected end of the script\n", s.name)
		s.status = 2
	}
	return s.exit()
}

// run runs statements and reports whether the shell exits.
func (s *shell) run(stmts []*syntax.Stmt) bool {
	s.tail = ""
	if s.isCommand {
		s.tail = tailCommand(stmts)
	}
	for _, st := range stmts {
		rewrite(st)
	}
	return s.runRewritten(stmts)
}

func (s *shell) runRewritten(stmts []*syntax.Stmt) bool {
	err := s.runner.Run(context.Background(), &syntax.File{Name: s.name, Stmts: stmts})
	exited := s.runner.Exited()
	var status interp.ExitStatus
	switch {
	case err == nil:
		s.status = 0
	case errors.As(err, &status):
		s.status = int(status)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
		s.status = 2
		return true
	}
	return exited
}

// exit runs the traps that are due and the EXIT trap, and returns the exit code.
func (s *shell) exit() int {
	actions := s.pendingActions()
	if action := s.traps["EXIT"]; action != "" {
		delete(s.traps, "EXIT")
		actions = append(actions, action)
	}
	for _, action := range actions {
		file, err := newParser().Parse(strings.NewReader(action), s.name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: trap: %v\n", s.name, err)
			continue
		}
		before := s.status
		if s.isCommand = false; s.run(file.Stmts) {
			return s.status
		}
		s.status = before
	}
	return s.status
}

// newParser returns a parser that accepts local and what else ash has of bash.
func newParser() *syntax.Parser { return syntax.NewParser(syntax.Variant(syntax.LangBash)) }
