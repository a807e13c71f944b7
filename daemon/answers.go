package daemon

import (
	"fmt"
	"hash"
	"io"
	"strings"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A daemon may lie, have a bug, or serve another store directory than the caller believes. A program that uses the
// answered path would use the wrong object. So the client compares each answer with what it has asked for or can compute.

// An AnswerError reports that a daemon has answered with another path, hash or output than the one that the client has
// computed or asked for. The connection stays usable.
type AnswerError struct {
	Op   protocol.Op
	Got  string // from the daemon
	Want string // "" if the client has asked for several, and Got is none of them
	Hint string // a possible reason; may be ""
}

func (e *AnswerError) Error() string {
	text := fmt.Sprintf("the daemon answered %s with '%s', ", e.Op, e.Got)
	if e.Want == "" {
		text += "for which it was not asked"
	} else {
		text += fmt.Sprintf("expected '%s'", e.Want)
	}
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// A contentHash hashes the contents of an object while they are uploaded.
type contentHash struct {
	method storepath.Method
	algo   nixhash.Algorithm
	hasher hash.Hash // nil if this package does not compute the hash
	stream narStream // finds the end of an archive, because the reader may continue after it
	ended  bool
}

// newContentHash returns the hash for a content address. The hash of a git object is not computed.
func newContentHash(m storepath.Method, a nixhash.Algorithm) *contentHash {
	h := &contentHash{method: m, algo: a}
	if m != storepath.Git && a.IsValid() {
		h.hasher = a.New()
	}
	return h
}

// reader returns a reader of the contents that also hashes them.
func (h *contentHash) reader(contents io.Reader) io.Reader {
	if h.hasher == nil {
		return contents
	}
	return io.TeeReader(contents, h)
}

// Write implements io.Writer.
func (h *contentHash) Write(p []byte) (int, error) {
	switch {
	case h.method != storepath.NAR:
		h.hasher.Write(p)
	case !h.ended:
		n, err := h.stream.consume(p)
		h.hasher.Write(p[:n])
		h.ended = err != nil
	}
	return len(p), nil
}

// checkAddable returns an error if no object can have such a content address. Nix 2.8 ends the connection without an
// error for references that the method does not allow.
func (c *Conn) checkAddable(name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path) error {
	if !a.IsValid() {
		return nil // the request cannot be encoded
	}
	ca, err := storepath.NewContentAddress(m, nixhash.Sum(a, nil))
	if err != nil {
		return err
	}
	_, err = c.Dir().FixedOutputPath(name, ca, storepath.References{Others: references})
	return err
}

// checkAdded returns an error unless the daemon has added the contents under the path that follows from them.
func (c *Conn) checkAdded(op protocol.Op, name string, h *contentHash, references []storepath.Path, got *store.PathInfo) error {
	if h.hasher == nil {
		return nil
	}
	sum := nixhash.FromHash(h.algo, h.hasher)
	ca, err := storepath.NewContentAddress(h.method, sum)
	if err != nil {
		return err
	}
	want, err := c.Dir().FixedOutputPath(name, ca, storepath.References{Others: references})
	if err != nil {
		return err
	}
	if got.Path != want {
		return c.otherPath(op, got.Path, want)
	}
	if h.method == storepath.NAR && h.algo == nixhash.SHA256 && got.NARHash != sum {
		return &AnswerError{Op: op, Got: got.NARHash.WithNix32(), Want: sum.WithNix32()}
	}
	return nil
}

// otherPath returns the error for a wrong path of an added object.
func (c *Conn) otherPath(op protocol.Op, got, want storepath.Path) error {
	return &AnswerError{Op: op, Got: string(got), Want: string(want), Hint: fmt.Sprintf("is its store directory %s?", c.Dir())}
}

// checkAmong returns an error if the daemon has answered with a path for which it was not asked.
func checkAmong(op protocol.Op, asked, got []storepath.Path) error {
	if len(got) == 0 {
		return nil
	}
	known := make(map[storepath.Path]bool, len(asked))
	for _, path := range asked {
		known[path] = true
	}
	for _, path := range got {
		if !known[path] {
			return &AnswerError{Op: op, Got: string(path)}
		}
	}
	return nil
}

// checkRealisation returns an error if a realisation is not the one of the output that was asked for.
func checkRealisation(asked, got store.DrvOutput) error {
	if got.Output == "" && got.Hash.IsZero() && got.Path == "" { // the answer has no name
		return nil
	}
	if got.Output != asked.Output || got.Hash != asked.Hash && !got.Hash.IsZero() || got.Path != asked.Path && got.Path != "" {
		return &AnswerError{Op: protocol.QueryRealisation, Got: outputName(got), Want: outputName(asked)}
	}
	return nil
}

// outputName returns the name of an output for messages.
func outputName(id store.DrvOutput) string {
	if id.Path != "" {
		return string(id.Path) + "^" + id.Output
	}
	return id.HashID()
}

// checkBuilt returns an error if the result of a build has an output that the derivation does not have, or has it under
// another path than the one that is known before the build.
func (c *Conn) checkBuilt(path storepath.Path, d *derivation.Derivation, built map[string]store.Realisation) error {
	for name, r := range built {
		output, ok := d.Outputs.Get(name)
		if !ok {
			return &AnswerError{Op: protocol.BuildDerivation, Got: fmt.Sprintf("%s^%s", path, name)}
		}
		want := output.Path()
		if output.Kind() == derivation.Fixed {
			var err error
			drvName := strings.TrimSuffix(path.Name(), storepath.DerivationExt)
			if want, err = c.Dir().FixedOutputPath(storepath.OutputName(drvName, name), output.ContentAddress(), storepath.References{}); err != nil {
				return err
			}
		}
		if want != "" && r.OutPath != want {
			return &AnswerError{Op: protocol.BuildDerivation, Got: string(r.OutPath), Want: string(want)}
		}
	}
	return nil
}
