package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pix/closure"
	"pix/derivation"
	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// A sourceComparer compares the contents of sources that differ. It finds them beside the .drv files, or in the store.
type sourceComparer struct {
	ctx context.Context
	src *drvSource
}

// compare returns the differences in the contents of two sources. The error says why they cannot be compared.
func (c *sourceComparer) compare(a, b string) ([]closure.ContentChange, error) {
	var archives [2]io.ReadCloser
	for i, path := range []string{a, b} {
		var err error
		if archives[i], err = c.open(path); err != nil {
			if i > 0 {
				archives[0].Close()
			}
			return nil, err
		}
	}
	defer archives[0].Close()
	defer archives[1].Close()
	return closure.CompareContents(archives[0], archives[1])
}

// open opens the archive of a source.
func (c *sourceComparer) open(text string) (io.ReadCloser, error) {
	for _, dir := range append([]string{filepath.Dir(text)}, c.src.dirs...) {
		if file := filepath.Join(dir, filepath.Base(text)); exists(file) {
			r, w := io.Pipe()
			go func() { w.CloseWithError(nar.Dump(c.ctx, w, file, nil)) }() // ends at the latest when r is closed
			return r, nil
		}
	}
	path, err := storepath.Parse(text)
	if err != nil {
		return nil, err
	}
	s, err := c.src.open(c.ctx)
	if err != nil {
		return nil, err
	}
	return store.ReadNAR(c.ctx, s, path)
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// maxContentChanges is the number of files of a source that are printed.
const maxContentChanges = 20

// source prints the differences in the contents of a source.
func (p *drvDiffPrinter) source(c *derivation.Change) {
	if p.sources == nil || !c.InA || !c.InB {
		return
	}
	changes, err := p.sources.compare(c.A, c.B)
	if err != nil {
		p.line("• The contents were not compared: " + oneLine(visible(errorText(err))))
		return
	}
	if len(changes) == 0 {
		p.line("• The contents are equal.")
	}
	for i := range changes[:min(maxContentChanges, len(changes))] {
		p.contentChange(&changes[i])
	}
	if n := len(changes) - maxContentChanges; n > 0 {
		p.line(fmt.Sprintf("• %d more files differ.", n))
	}
}

func (p *drvDiffPrinter) contentChange(c *closure.ContentChange) {
	name := oneLine(visible(c.Path))
	switch {
	case !c.InB:
		p.line(p.paint(derivation.EditRemoved, "- "+name))
	case !c.InA:
		p.line(p.paint(derivation.EditAdded, "+ "+name))
	case c.Text[0] != nil && *c.Text[0] != *c.Text[1]:
		p.line("• The file " + name + " differs:")
		p.depth++
		p.edits(derivation.DiffText(*c.Text[0], *c.Text[1]))
		p.depth--
	default:
		p.line("• " + name + ": " + entryText(c.A) + " -> " + entryText(c.B))
	}
}

// entryText returns the kind of a file, its size and its target.
func entryText(e nar.Entry) string {
	switch {
	case e.Kind == nar.Directory:
		return "a directory"
	case e.Kind == nar.Symlink:
		return "a symlink to " + oneLine(visible(e.Target))
	case e.Executable:
		return fmt.Sprintf("a program of %d bytes", e.Size)
	}
	return fmt.Sprintf("a file of %d bytes", e.Size)
}
