package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
)

// errorText returns the text of an error without Go terms and names of system calls.
func errorText(err error) string {
	text := err.Error()
	for _, e := range unwrapAll(err) {
		if plain := plainText(e); plain != "" {
			text = strings.ReplaceAll(text, e.Error(), plain)
		}
	}
	return text
}

// unwrapAll returns an error and every error that it wraps, outer errors first.
func unwrapAll(err error) []error {
	all := []error{err}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		if inner := w.Unwrap(); inner != nil {
			all = append(all, unwrapAll(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range w.Unwrap() {
			all = append(all, unwrapAll(inner)...)
		}
	}
	return all
}

// plainText returns a plain text for an error of the standard library, or "" for any other error.
func plainText(err error) string {
	switch e := err.(type) {
	case *fs.PathError:
		return fmt.Sprintf("%s '%s': %s", verbForm(e.Op), e.Path, errorText(e.Err))
	case *os.LinkError:
		return fmt.Sprintf("%s '%s' as '%s': %s", verbForm(e.Op), e.Old, e.New, errorText(e.Err))
	case *os.SyscallError:
		return errorText(e.Err)
	case *exec.Error:
		if errors.Is(e.Err, exec.ErrNotFound) {
			return fmt.Sprintf("the program '%s' is not in PATH", e.Name)
		}
	case *net.DNSError:
		if e.IsNotFound {
			return fmt.Sprintf("host '%s' not found", e.Name)
		}
	case *net.OpError:
		switch {
		case e.Op != "dial" || e.Err == nil:
		case e.Addr == nil: // the lookup of the host failed
			return errorText(e.Err)
		default:
			return fmt.Sprintf("connecting to %s: %s", e.Addr, errorText(e.Err))
		}
	}
	if err == context.DeadlineExceeded {
		return "timeout"
	}
	return ""
}

// verbForm returns the -ing form for the Op of an error of package os.
func verbForm(op string) string {
	if word, ok := verbForms[op]; ok {
		return word
	}
	return op
}

var verbForms = map[string]string{
	"open": "opening", "openat": "opening", "openfdat": "opening", "dump": "reading", "read": "reading", "write": "writing",
	"lstat": "reading", "stat": "reading", "statat": "reading", "fstatat": "reading", "lstatat": "reading", "readlink": "reading",
	"readlinkat": "reading", "readdirent": "reading", "fdopendir": "reading", "readdir": "reading", "getdents64": "reading", "statfs": "reading",
	"mkdir": "creating", "mkdirat": "creating", "create": "creating", "mkfifo": "creating", "symlink": "creating", "symlinkat": "creating",
	"link": "linking", "linkat": "linking", "rename": "renaming", "renameat": "renaming", "restore": "writing",
	"fork/exec": "starting", "remove": "deleting", "unlink": "deleting", "unlinkat": "deleting", "RemoveAll": "deleting",
	"chmod": "setting the mode of", "chmodat": "setting the mode of", "fchmodat": "setting the mode of", "chtimes": "setting the time of",
	"chown": "setting the owner of", "lchown": "setting the owner of", "truncate": "writing", "sync": "writing", "close": "closing", "seek": "reading",
	"chdir": "entering", "set the time of": "setting the time of",
}
