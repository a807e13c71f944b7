package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// builtins are the builtins that need only the process. An error is a message and the status 1.
var builtins = map[string]func(interp.HandlerContext, []string) error{
	"umask": umask, "ulimit": ulimit, "times": times, "kill": kill, "echo": echo, "printf": printf,
}

// umask prints or sets the umask, as an octal number or as symbols.
func umask(hc interp.HandlerContext, args []string) error {
	old := unix.Umask(0o77)
	unix.Umask(old)
	symbolic := len(args) > 0 && args[0] == "-S"
	if symbolic {
		args = args[1:]
	}
	if len(args) > 0 {
		mask, err := parseMask(args[0], old)
		if err == nil {
			unix.Umask(mask)
		}
		return err
	}
	if symbolic {
		fmt.Fprintf(hc.Stdout, "u=%s,g=%s,o=%s\n", symbols(old>>6), symbols(old>>3), symbols(old))
		return nil
	}
	fmt.Fprintf(hc.Stdout, "%04o\n", old)
	return nil
}

// symbols returns the permissions that a mask leaves.
func symbols(mask int) string {
	var b strings.Builder
	for i, c := range "rwx" {
		if mask&(4>>i) == 0 {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func parseMask(text string, old int) (int, error) {
	if n, err := strconv.ParseUint(text, 8, 12); err == nil {
		return int(n) & 0o777, nil
	}
	allowed := ^old & 0o777
	for clause := range strings.SplitSeq(text, ",") {
		i := strings.IndexAny(clause, "=+-")
		if i < 0 {
			return 0, fmt.Errorf("bad mask %s", text)
		}
		var who, bits int
		for _, c := range clause[:i] {
			who |= map[rune]int{'u': 0o700, 'g': 0o070, 'o': 0o007, 'a': 0o777}[c]
		}
		if clause[:i] == "" {
			who = 0o777
		}
		for _, c := range clause[i+1:] {
			bit, ok := map[rune]int{'r': 0o444, 'w': 0o222, 'x': 0o111}[c]
			if !ok {
				return 0, fmt.Errorf("bad mask %s", text)
			}
			bits |= bit
		}
		switch bits &= who; clause[i] {
		case '=':
			allowed = allowed&^who | bits
		case '+':
			allowed |= bits
		case '-':
			allowed &^= bits
		}
	}
	return ^allowed & 0o777, nil
}

// A limit is a resource of ulimit. Its unit is in bytes, or 1.
type limit struct {
	resource int
	unit     uint64
	name     string
}

var limits = map[byte]limit{
	't': {unix.RLIMIT_CPU, 1, "time (seconds)"}, 'f': {unix.RLIMIT_FSIZE, 512, "file (blocks)"},
	'd': {unix.RLIMIT_DATA, 1024, "data (kbytes)"}, 's': {unix.RLIMIT_STACK, 1024, "stack (kbytes)"},
	'c': {unix.RLIMIT_CORE, 512, "core (blocks)"}, 'm': {unix.RLIMIT_RSS, 1024, "rss (kbytes)"},
	'l': {unix.RLIMIT_MEMLOCK, 1024, "locked (kbytes)"}, 'u': {unix.RLIMIT_NPROC, 1, "processes"},
	'n': {unix.RLIMIT_NOFILE, 1, "open files"}, 'v': {unix.RLIMIT_AS, 1024, "memory (kbytes)"},
}

// ulimit prints or sets limits of this process.
func ulimit(hc interp.HandlerContext, args []string) error {
	soft, hard, all, option := false, false, false, byte('f')
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		for _, c := range []byte(args[0][1:]) {
			switch {
			case c == 'S':
				soft = true
			case c == 'H':
				hard = true
			case c == 'a':
				all = true
			case limits[c].name != "":
				option = c
			default:
				return fmt.Errorf("unknown option -%c", c)
			}
		}
		args = args[1:]
	}
	if all {
		for _, c := range []byte("tfdscmlunv") {
			fmt.Fprintf(hc.Stdout, "%-20s ", limits[c].name)
			if err := printLimit(hc.Stdout, limits[c], hard); err != nil {
				return err
			}
		}
		return nil
	}
	if len(args) == 0 {
		return printLimit(hc.Stdout, limits[option], hard)
	}
	return setLimit(limits[option], args[0], soft || !hard, hard || !soft)
}

func printLimit(w io.Writer, l limit, hard bool) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(l.resource, &r); err != nil {
		return err
	}
	value := r.Cur
	if hard {
		value = r.Max
	}
	text := "unlimited"
	if value != math.MaxUint64 {
		text = strconv.FormatUint(value/l.unit, 10)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func setLimit(l limit, text string, soft, hard bool) error {
	value := uint64(math.MaxUint64)
	if text != "unlimited" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n > math.MaxUint64/l.unit {
			return errors.New("bad number")
		}
		value = n * l.unit
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(l.resource, &r); err != nil {
		return err
	}
	if soft {
		r.Cur = value
	}
	if hard {
		r.Max = value
	}
	return unix.Setrlimit(l.resource, &r)
}

// times prints the processor time of the shell and of its children.
func times(hc interp.HandlerContext, _ []string) error {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			return err
		}
		fmt.Fprintf(hc.Stdout, "%s %s\n", minutes(u.Utime), minutes(u.Stime))
	}
	return nil
}

func minutes(t unix.Timeval) string {
	return fmt.Sprintf("%dm%.6fs", int64(t.Sec)/60, float64(int64(t.Sec)%60)+float64(t.Usec)/1e6)
}
