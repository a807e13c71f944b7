package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/builder/sandbox"
	"pix/nixconf"
	"pix/storepath"
)

func newDoctor(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Try what this machine can do for builds, and print what to enable",
		Long: `Try what this machine can do for builds, and print a line for each ability: ok, or no and the
reason, and below them what to enable for those that are missing. Each answer comes from doing
it, as a build would. The exit code is 0 if sandboxed builds work for this user, else 1.

sandbox is a process in namespaces of its own; without it only sandbox = false builds.
build-users and user-ranges are sandboxes that run as other users, which only root can make.
filter is the filter of system calls. landlock keeps fixed-output builds from the machine's
abstract sockets. cgroups are for use-cgroups, kvm for the system feature kvm. shell is the
/bin/sh of sandboxed builds: the one of the setting sandbox-paths, or one of this machine.`,
		Example: "  pix doctor",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := sandbox.Examine(cmd.Context(), 0, 0)
			if err != nil {
				return &unknownError{err}
			}
			facts := factsOf(found)
			conf, err := a.configuration()
			if err != nil {
				return err
			}
			setShell(facts, conf)
			if err := a.printEither(doctorText(facts), doctorJSON(facts), asJSON); err != nil {
				return err
			}
			if buildsWork(found, os.Geteuid() == 0) != nil {
				return &silentError{exitNo}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return cmd
}

// buildsWork returns why sandboxed builds do not work for this user, or nil. Root builds as other users.
func buildsWork(f *sandbox.Findings, isRoot bool) error {
	if isRoot {
		return f.BuildUsers
	}
	return f.Namespaces
}

// A fact is an ability of this machine, or the reason why the machine lacks it.
type fact struct {
	name   string
	value  string // such as a version; may be ""
	err    error
	advice string // what to enable
}

var (
	errNoLandlock  = errors.New("this kernel has no Landlock")
	errOldLandlock = errors.New("this kernel's Landlock cannot deny abstract sockets")
	errNoShell     = errors.New("this machine has no shell without shared libraries")
)

const (
	scopeLandlock = 6 // the first version that can deny abstract sockets

	shellAdvice = "apt install busybox-static   # on Debian and Ubuntu; elsewhere the package busybox\n" +
		"or in a clone of pix: CGO_ENABLED=0 go install ./cmd/pix ./cmd/pix-sh   # both into one directory\n" +
		"or in nix.conf: sandbox-paths = /bin/sh=/path/to/busybox"
)

// factsOf returns the facts that doctor prints.
func factsOf(f *sandbox.Findings) []fact {
	facts := []fact{
		{name: "kernel", value: f.Kernel},
		{name: "sandbox", err: f.Namespaces},
		{name: "build-users", err: f.BuildUsers},
		{name: "user-ranges", err: f.Ranges},
		{name: "filter", err: f.Filter},
		{name: "landlock", value: fmt.Sprintf("version %d", f.Landlock)},
		{name: "cgroups", value: f.CgroupDir, err: f.Cgroups},
		{name: "kvm", err: f.KVM},
		{name: "shell", value: shellText(f.Shell)},
	}
	for i := range facts {
		facts[i].explain(f)
	}
	return facts
}

// shellText names a shell, and says if it is pix-sh.
func shellText(file string) string {
	if file != "" && sandbox.IsOwnShell(file) {
		return file + ", pix's own, since there is no static busybox or bash"
	}
	return file
}

// setShell sets the fact of the shell if sandbox-paths names one.
func setShell(facts []fact, conf *nixconf.Conf) {
	const target = "/bin/sh"
	for _, p := range sandboxPaths(conf.Reader()) {
		if p.Target != target {
			continue
		}
		shell := fact{name: "shell", value: p.Source + ", from sandbox-paths"}
		if _, _, err := storepath.DefaultDir.ParseInside(p.Source); err != nil { // not in a store, which may be elsewhere
			_, shell.err = os.Stat(p.Source)
		}
		if shell.err != nil && p.Optional {
			continue // as in a build
		}
		facts[slices.IndexFunc(facts, func(f fact) bool { return f.name == shell.name })] = shell
	}
}

// explain sets the errors that doctor finds itself, and the advice.
func (c *fact) explain(f *sandbox.Findings) {
	switch {
	case c.name == "landlock" && f.Landlock == 0:
		c.err = errNoLandlock
	case c.name == "landlock" && f.Landlock < scopeLandlock:
		c.err = errOldLandlock
	case c.name == "shell" && f.Shell == "":
		c.err, c.advice = errNoShell, shellAdvice
	case c.name == "kvm" && errors.Is(c.err, fs.ErrPermission):
		c.advice = "usermod --append --groups kvm USER   # as root; then log in again"
	}
	if e, ok := errors.AsType[*sandbox.SetupError](c.err); ok {
		c.err, c.advice = fmt.Errorf("%s: %w", e.Step, e.Err), e.Advice
	}
}

// doctorText returns the lines of the facts, and then the advice.
func doctorText(facts []fact) string {
	var b, todo strings.Builder
	advised := map[string]bool{}
	for _, c := range facts {
		switch {
		case c.err != nil:
			fmt.Fprintf(&b, "%s: no: %s\n", c.name, strings.ReplaceAll(errorText(c.err), "\n", " "))
		case c.value != "" && c.name == "kernel":
			fmt.Fprintf(&b, "%s: %s\n", c.name, c.value)
		case c.value != "":
			fmt.Fprintf(&b, "%s: ok (%s)\n", c.name, c.value)
		default:
			fmt.Fprintf(&b, "%s: ok\n", c.name)
		}
		if c.advice != "" && !advised[c.advice] {
			advised[c.advice] = true
			fmt.Fprintf(&todo, "\nfor %s:\n  %s\n", c.name, strings.ReplaceAll(c.advice, "\n", "\n  "))
		}
	}
	return b.String() + todo.String()
}

// A factJSON is a fact in the output of doctor --json.
type factJSON struct {
	OK     bool    `json:"ok"`
	Value  *string `json:"value"`
	Error  *string `json:"error"`
	Advice *string `json:"advice"` // lines
}

// doctorJSON returns the facts by name.
func doctorJSON(facts []fact) map[string]factJSON {
	object := make(map[string]factJSON, len(facts))
	for _, c := range facts {
		entry := factJSON{OK: c.err == nil, Value: orNull(c.value), Advice: orNull(c.advice)}
		if c.err != nil {
			entry.Error = orNull(errorText(c.err))
		}
		object[c.name] = entry
	}
	return object
}
