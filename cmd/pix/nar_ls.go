package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"pix/nar"
)

// A lsForm says what nar-ls prints, and how.
type lsForm struct {
	long, recursive, directory, json bool
}

func newNARLs(a *app) *cobra.Command {
	var form lsForm
	cmd := &cobra.Command{
		Use:   "nar-ls NAR [PATH]",
		Short: "List an archive, or a directory or file in it",
		Long: `List an archive, or the directory or file at PATH in it, as 'nix nar ls' does. NAR may be
compressed with zstd, xz, gzip, bzip2, lzma, lz4 or brotli; - is standard input. PATH begins at
the root of the archive; symlinks are not followed.

The archive is checked to its end. Contents are not read where it is a file that is not
compressed.`,
		Example: "  pix nar-ls --long --recursive hello.nar.xz /share",
		GroupID: groupArchives,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if form.json && form.directory {
				return wrongUse(cmd, errors.New("--directory is of no use with --json"))
			}
			return orInterrupted(cmd.Context(), func() error { return a.listArchive(cmd.Context(), append(args, "/")[:2], form) })
		},
	}
	addLsFlags(cmd, &form)
	return cmd
}

func addLsFlags(cmd *cobra.Command, form *lsForm) {
	flags := cmd.Flags()
	flags.BoolVarP(&form.long, "long", "l", false, "with kind, executable bit and size")
	flags.BoolVarP(&form.recursive, "recursive", "R", false, "with all that lies in subdirectories")
	flags.BoolVarP(&form.directory, "directory", "d", false, "list a directory itself, and not what lies in it")
	flags.BoolVar(&form.json, "json", false, "as JSON, with the offsets of contents in the archive")
}

// A lister is told the node that is listed, with the path "", and then what lies in it,
// with paths relative to that.
type lister interface {
	node(e nar.Entry, path string) error
	end() error
	abandon() error // after an error in the archive
}

// listArchive lists what is at args[1] in the archive args[0].
func (a *app) listArchive(ctx context.Context, args []string, form lsForm) error {
	ar, err := a.openArchive(ctx, args[0])
	if err != nil {
		return err
	}
	defer ar.Close()
	return a.listIn(ar, args[1], form)
}

// listIn lists what is at path in an archive.
func (a *app) listIn(ar *archive, path string, form lsForm) error {
	wanted := seek(path)
	list := a.newLister(wanted, form)
	err := ar.list(wanted, list, form.depth())
	if err == nil {
		err = ar.finish()
	}
	if err != nil {
		return errors.Join(list.abandon(), ar.failed(err))
	}
	if !wanted.seen {
		return ar.failed(noFile(path, nar.Entry{}))
	}
	return list.end()
}

// depth returns how many levels are listed below the one node.
func (form lsForm) depth() int {
	switch {
	case form.recursive:
		return nar.MaxDepth
	case form.directory:
		return 0
	}
	return 1
}

// list reads the archive to its end, and tells what was wanted of it, and so many levels
// below that.
func (ar *archive) list(wanted *seeker, list lister, levels int) error {
	top := len(wanted.names)
	prefix := strings.Join(wanted.names, "/")
	for e, err := range ar.All() {
		if err != nil {
			return err
		}
		switch wanted.place(e) {
		case there:
			err = list.node(e, "")
		case below:
			if e.Depth <= top+levels {
				err = list.node(e, strings.TrimPrefix(ar.Path()[len(prefix):], "/"))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) newLister(wanted *seeker, form lsForm) lister {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	if form.json {
		return &jsonLister{out: out, top: len(wanted.names), recursive: form.recursive}
	}
	l := &textLister{out: out, form: form, visible: isTerminal(a.stdout)}
	if n := len(wanted.names); n > 0 {
		l.name = wanted.names[n-1]
	}
	return l
}

// A textLister prints lines as Nix does.
type textLister struct {
	out     *bufio.Writer
	form    lsForm
	name    string // of the node that is listed
	visible bool   // control characters are shown as ?
}

func (l *textLister) node(e nar.Entry, path string) error {
	switch {
	case path != "":
		path = "./" + path
	case e.Kind != nar.Directory:
		path = l.name
	case l.form.directory:
		path = "."
	default:
		return nil
	}
	if l.form.long {
		if _, err := fmt.Fprintf(l.out, "%s %20d ", modeText(e), e.Size); err != nil {
			return err
		}
		if e.Kind == nar.Symlink {
			path += " -> " + e.Target
		}
	}
	if l.visible {
		path = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return '?'
			}
			return r
		}, path)
	}
	_, err := l.out.WriteString(path + "\n")
	return err
}

func (l *textLister) end() error { return l.out.Flush() }

// What was read of an archive that ends too early is of use.
func (l *textLister) abandon() error { return l.out.Flush() }

// modeText spells the mode that a node gets in a store.
func modeText(e nar.Entry) string {
	switch {
	case e.Kind == nar.Directory:
		return "dr-xr-xr-x"
	case e.Kind == nar.Symlink:
		return "lrwxrwxrwx"
	case e.Executable:
		return "-r-xr-xr-x"
	}
	return "-r--r--r--"
}

// A jsonLister prints what [nar.Listing.MarshalJSON] does, while it is read: the listing
// of a large archive would not fit the memory that we allow ourselves.
type jsonLister struct {
	out       *bufio.Writer
	top       int // depth of the node that is listed
	recursive bool

	open  int  // directories that were begun and not ended
	comma bool // whether one comes before the next entry
}

func (l *jsonLister) node(e nar.Entry, path string) error {
	l.close(e.Depth - l.top)
	if path != "" {
		name, err := jsonString(e.Name)
		if err != nil {
			return err
		}
		if l.comma {
			l.out.WriteByte(',')
		}
		l.out.WriteString(name + ":")
	}
	l.comma = true
	if path != "" && !l.recursive {
		_, err := l.out.WriteString("{}")
		return err
	}
	if e.Kind == nar.Directory {
		l.open++
		l.comma = false
		_, err := l.out.WriteString(`{"entries":{`)
		return err
	}
	leaf := nar.Listing{Kind: e.Kind, Executable: e.Executable, Size: e.Size, Offset: e.Offset, Target: e.Target}
	text, err := leaf.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = l.out.Write(text)
	return err
}

// close ends all directories but that many.
func (l *jsonLister) close(remaining int) {
	for ; l.open > remaining; l.open-- {
		l.out.WriteString(`},"type":"directory"}`)
		l.comma = true
	}
}

// jsonString spells a string as Nix does, which escapes less than Go. Package nar knows
// how, and tells for the target of a symlink.
func jsonString(s string) (string, error) {
	const before, after = `{"target":`, `,"type":"symlink"}`
	link := nar.Listing{Kind: nar.Symlink, Target: s}
	text, err := link.MarshalJSON()
	if err != nil {
		return "", err
	}
	return string(text[len(before) : len(text)-len(after)]), nil
}

func (l *jsonLister) end() error {
	l.close(0)
	l.out.WriteByte('\n')
	return l.out.Flush()
}

// Half of a JSON text is of no use, so what is still buffered is not written.
func (l *jsonLister) abandon() error { return nil }
