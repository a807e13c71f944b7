package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// forkFlag is the argument of a process that continues a shell. The next one is the descriptor of its state.
const forkFlag = "--pix-continue"

// A state is what a subshell gets from its shell, besides descriptors and the umask.
type state struct {
	name, dir, flags, status string
	text                     string // what it runs
	functions                string
	ignored                  []string // signals
	params                   []string
	variables                environ
	files                    []string // numbers of descriptors from 3 on
}

// encode returns the state as texts that end in NUL, which no text of a shell contains.
func (s *state) encode() []byte {
	var b bytes.Buffer
	put := func(texts ...string) {
		for _, text := range texts {
			b.WriteString(text)
			b.WriteByte(0)
		}
	}
	list := func(texts []string) {
		put(strconv.Itoa(len(texts)))
		put(texts...)
	}
	put(s.name, s.dir, s.flags, s.status, s.text, s.functions)
	list(s.ignored)
	list(s.params)
	list(s.files)
	s.variables.Each(func(name string, v expand.Variable) bool {
		if v.Kind == expand.String {
			kind := ""
			if v.Exported {
				kind += "x"
			}
			if v.ReadOnly {
				kind += "r"
			}
			put(kind, name, v.Str)
		}
		return true
	})
	return b.Bytes()
}

var errState = errors.New("the state of the shell is incomplete")

func decodeState(b []byte) (*state, error) {
	texts := strings.Split(string(b), "\x00")
	texts = texts[:len(texts)-1]
	take := func(n int) []string {
		if n < 0 || n > len(texts) {
			return nil
		}
		taken := texts[:n]
		texts = texts[n:]
		return taken
	}
	head := take(6)
	if head == nil {
		return nil, errState
	}
	s := &state{name: head[0], dir: head[1], flags: head[2], status: head[3], text: head[4], functions: head[5], variables: environ{}}
	for _, list := range []*[]string{&s.ignored, &s.params, &s.files} {
		count := take(1)
		if count == nil {
			return nil, errState
		}
		n, err := strconv.Atoi(count[0])
		if *list = take(n); err != nil || len(*list) != n {
			return nil, errState
		}
	}
	for len(texts) >= 3 {
		v := take(3)
		s.variables[v[1]] = expand.Variable{
			Set: true, Kind: expand.String, Str: v[2],
			Exported: strings.Contains(v[0], "x"), ReadOnly: strings.Contains(v[0], "r"),
		}
	}
	return s, nil
}

// A child is a process of a command with &.
type child struct {
	done   chan struct{}
	status int
}

// fork runs a text in a process of its own. It takes the same arguments as forkCall.
func (s *shell) fork(hc interp.HandlerContext, args []string) error {
	mode, text, flags, status, params := args[1], args[2], args[3], args[4], args[5:]
	if strings.Contains(mode, "q") {
		flags = strings.ReplaceAll(flags, "e", "")
	}
	st := &state{
		name: s.name, dir: hc.Dir, flags: flags, status: status, text: text, functions: s.printFunctions(),
		params: params, variables: variables(hc.Env), ignored: s.ignoredSignals(),
	}
	for number := range s.fds {
		st.files = append(st.files, strconv.Itoa(number))
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	cmd := s.command(hc, "/proc/self/exe", nil)
	number := 3 + len(cmd.ExtraFiles)
	cmd.Args = []string{s.name, forkFlag, strconv.Itoa(number)}
	cmd.ExtraFiles = append(cmd.ExtraFiles, r)
	isBackground := strings.Contains(mode, "b")
	if isBackground && s.stdinIsOwn(hc) {
		cmd.Stdin = nil // the null device, since two readers of one input would each get a part
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(hc.Stderr, "%s: cannot start a subshell: %v\n", s.name, err)
		return interp.ExitStatus(2)
	}
	r.Close()
	if _, err := w.Write(st.encode()); err != nil && !isBackground {
		_ = cmd.Wait()
		return fmt.Errorf("starting a subshell: %w", err)
	}
	w.Close()
	if !isBackground {
		return exitStatus(statusOf(cmd.Wait()))
	}
	return s.background(hc, cmd)
}

// background keeps a process for wait, and sets `$!`.
func (s *shell) background(hc interp.HandlerContext, cmd *exec.Cmd) error {
	c := &child{done: make(chan struct{})}
	pid := cmd.Process.Pid
	s.children[pid] = c
	go func() {
		c.status = statusOf(cmd.Wait())
		close(c.done)
	}()
	return s.set(hc, prefix+"bg", strconv.Itoa(pid))
}

func (s *shell) printFunctions() string {
	file := &syntax.File{}
	for _, name := range sortedNames(s.runner.Funcs) {
		file.Stmts = append(file.Stmts, &syntax.Stmt{Cmd: &syntax.FuncDecl{Parens: true, Name: &syntax.Lit{Value: name}, Body: s.runner.Funcs[name]}})
	}
	return printNode(file)
}

// runFork continues a shell whose state can be read from a descriptor, and returns the exit code.
func runFork(number string) int {
	fail := func(err error) int {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return 2
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 3 {
		return fail(errState)
	}
	f := os.NewFile(uintptr(n), "state")
	b, err := io.ReadAll(f)
	if err != nil {
		return fail(err)
	}
	f.Close()
	st, err := decodeState(b)
	if err != nil {
		return fail(err)
	}
	s, err := newShell(st.name, st.variables, st.dir, namedFiles(st.files))
	if err != nil {
		return fail(err)
	}
	for _, name := range st.ignored {
		s.traps[name] = ""
	}
	return s.resume(st)
}

// resume runs the text of a state, in which return ends the subshell, as in a file that the builtin . reads.
func (s *shell) resume(st *state) int {
	functions, err := newParser().Parse(strings.NewReader(st.functions), s.name)
	if err == nil && len(functions.Stmts) > 0 {
		s.runRewritten(functions.Stmts)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
		return 2
	}
	s.runRewritten([]*syntax.Stmt{{Cmd: &syntax.CallExpr{Args: []*syntax.Word{literal(prefix + "status"), quoted(st.status)}}}})
	var flags []string
	if st.flags != "" {
		flags = []string{"-" + st.flags}
	}
	if err := s.setOptions(flags, st.params); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
		return 2
	}
	file, err := newParser().Parse(strings.NewReader(st.text), s.name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
		return 2
	}
	s.tail = tailCommand(file.Stmts)
	for _, stmt := range file.Stmts {
		rewrite(stmt)
	}
	source := &syntax.CallExpr{Args: []*syntax.Word{literal("."), quoted(s.addSource(printNode(file)))}}
	s.runRewritten([]*syntax.Stmt{{Cmd: source}})
	return s.exit()
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
