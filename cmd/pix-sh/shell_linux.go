package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// prefix begins the names of the commands and variables that rewrite uses.
const prefix = "_pix_"

// A shell is a shell environment. There is one in each process.
type shell struct {
	runner *interp.Runner
	name   string           // $0
	status int              // of the last command
	fds    map[int]*os.File // the descriptors from 3 on that commands inherit
	saved  []savedFile      // what redirections of descriptors from 3 on have replaced

	children  map[int]*child // of commands with &
	signals   chan os.Signal // that have a trap
	untrapped chan os.Signal // that end the shell, see fatal
	traps     map[string]string
	due       []string // signals whose trap has not run yet

	sources map[string]string // rewritten scripts that the builtin . reads
	isPipe  map[*os.File]bool // named pipes that redirections have opened

	isCommand bool   // the script is the argument of -c, and a single statement
	tail      string // an external command that is the last of this process
}

// newShell returns a shell. dir "" is the working directory of the process.
func newShell(name string, env environ, dir string, fds map[int]*os.File) (*shell, error) {
	s := &shell{
		name: name, fds: fds,
		children: map[int]*child{}, signals: make(chan os.Signal, 64), untrapped: make(chan os.Signal, 1), traps: map[string]string{},
		sources: map[string]string{}, isPipe: map[*os.File]bool{},
	}
	var err error
	s.runner, err = interp.New(
		interp.Env(env), interp.Dir(dir), interp.StdIO(os.Stdin, os.Stdout, os.Stderr), interp.Interactive(true),
		interp.CallHandler(s.call), interp.OpenHandler(s.open),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
	)
	if err != nil {
		return nil, err
	}
	s.runner.Reset()
	for _, sig := range fatal {
		signal.Notify(s.untrapped, sig)
	}
	go s.dieBySignal()
	return s, nil
}

// intercepted are the builtins that this package implements.
var intercepted = []string{"exec", "eval", ".", "umask", "kill", "ulimit", "times", "trap", "wait", "echo", "printf"}

// call replaces the arguments of a command before functions and builtins are looked up.
func (s *shell) call(ctx context.Context, args []string) ([]string, error) {
	if !strings.HasPrefix(args[0], prefix) {
		s.collectSignals()
	}
	if len(s.due) > 0 && !strings.HasPrefix(args[0], prefix) {
		return append([]string{prefix + "traps"}, args...), nil
	}
	if s.runner.Funcs[args[0]] != nil {
		return args, nil
	}
	if args[0] == "command" && len(args) > 1 && slices.Contains(intercepted, args[1]) {
		args = args[1:]
	}
	switch {
	case !slices.Contains(intercepted, args[0]), args[0] == "exec" && len(args) == 1,
		args[0] == "." && len(args) > 1 && s.sources[args[1]] != "":
		return args, nil
	case args[0] == "exec" && args[1] == "--":
		args = slices.Delete(slices.Clone(args), 1, 2)
	case args[0] == "eval":
		return s.callEval(ctx, strings.Join(args[1:], " "))
	case args[0] == ".":
		return s.callSource(ctx, args)
	}
	return append([]string{prefix + args[0]}, args[1:]...), nil
}

// callEval returns a call of the builtin eval with a rewritten text. A syntax error ends the shell.
func (s *shell) callEval(ctx context.Context, text string) ([]string, error) {
	rewritten, err := rewriteText(text, "eval")
	if err != nil {
		fmt.Fprintf(interp.HandlerCtx(ctx).Stderr, "%s: %v\n", s.name, err)
		return []string{"exit", "2"}, nil
	}
	return []string{"eval", rewritten}, nil
}

// callSource returns a call of the builtin . that reads a rewritten script.
func (s *shell) callSource(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	if len(args) < 2 {
		fmt.Fprintf(hc.Stderr, "%s: .: a file is missing\n", s.name)
		return []string{prefix + "status", "2"}, nil
	}
	text, err := readSource(hc, args[1])
	if err == nil {
		text, err = rewriteText(text, args[1])
	}
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: .: %v\n", s.name, err)
		return []string{"exit", "2"}, nil
	}
	return append([]string{".", s.addSource(text)}, args[2:]...), nil
}

// addSource returns a file name that the builtin . can read once.
func (s *shell) addSource(text string) string {
	name := fmt.Sprintf("%s%d", sourcePrefix, len(s.sources))
	s.sources[name] = text
	return name
}

// rewriteText returns a script with rewritten commands.
func rewriteText(text, name string) (string, error) {
	file, err := newParser().Parse(strings.NewReader(text), name)
	if err != nil {
		return "", err
	}
	for _, st := range file.Stmts {
		rewrite(st)
	}
	return printNode(file), nil
}

func printNode(node syntax.Node) string {
	var b strings.Builder
	if err := syntax.NewPrinter().Print(&b, node); err != nil {
		panic(err) // the parser made the tree
	}
	return b.String()
}

// An environ has the variables with which a shell starts.
type environ map[string]expand.Variable

func (e environ) Get(name string) expand.Variable { return e[name] }

// Each calls f for each variable in the order of the names.
func (e environ) Each(f func(string, expand.Variable) bool) {
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if !f(name, e[name]) {
			return
		}
	}
}

// initialEnviron returns the variables of an environment. `$$` and `$PPID` are variables, because subshells share the values of the shell.
func initialEnviron(env []string, pid, parent string) environ {
	e := environ{}
	for _, text := range env {
		if name, value, ok := strings.Cut(text, "="); ok && name != "" {
			e[name] = expand.Variable{Set: true, Exported: true, Kind: expand.String, Str: value}
		}
	}
	e[prefix+"pid"] = expand.Variable{Set: true, Kind: expand.String, Str: pid}
	e[prefix+"parent"] = expand.Variable{Set: true, Kind: expand.String, Str: parent}
	return e
}

// variables returns the variables of a shell.
func variables(env expand.Environ) environ {
	e := environ{}
	env.Each(func(name string, v expand.Variable) bool {
		if !v.IsSet() {
			delete(e, name)
		} else {
			e[name] = v
		}
		return true
	})
	return e
}

// exported returns the environment of commands. PWD and OLDPWD are exported, as in ash.
func exported(env expand.Environ) []string {
	var list []string
	variables(env).Each(func(name string, v expand.Variable) bool {
		if (v.Exported || name == "PWD" || name == "OLDPWD") && v.Kind == expand.String && !strings.HasPrefix(name, prefix) {
			list = append(list, name+"="+v.Str)
		}
		return true
	})
	return list
}
