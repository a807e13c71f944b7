package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"pix/internal/exactjson"
	"pix/signature"
	"pix/storepath"
)

// A JSONMember is an additional member of the JSON object of a path info, as in narinfo files
// and in the output of `nix path-info --closure-size`.
type JSONMember struct {
	Key   string
	Value any // a string or a uint64
}

// Marshal writes info in the format of Nix: without spaces, keys sorted, without escapes for
// HTML. The error is a [*PathInfoJSONError] if the info is invalid: a path of another store
// directory, an invalid signature, no hash.
func (form PathInfoJSON) Marshal(info *PathInfo, more ...JSONMember) ([]byte, error) {
	w := infoWriter{form: form}
	if err := w.write(info, more); err != nil {
		return nil, err
	}
	return w.Buf, nil
}

// MarshalAll writes the output of `nix path-info --json` for paths in dir: an object with a
// member for each path. It is null if the info is nil, because the path is not valid. From
// version 2 on that object is a member of another. A [PathInfoWriter] writes the same text
// without holding all infos.
func (form PathInfoJSON) MarshalAll(dir storepath.Dir, infos map[storepath.Path]*PathInfo) ([]byte, error) {
	var b bytes.Buffer
	w := form.NewWriter(&b, dir, "")
	for _, path := range slices.Sorted(maps.Keys(infos)) {
		if err := w.Write(path, infos[path]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// A PathInfoWriter writes the text of [PathInfoJSON.MarshalAll] path by path. It holds at most
// 64 KiB and one path, and writes nothing to its io.Writer before.
type PathInfoWriter struct {
	out  io.Writer
	dir  storepath.Dir
	json infoWriter
	last storepath.Path
	err  error // the first error
}

// NewWriter returns a writer for paths in dir. indent is the indentation of one level, or "" to
// write a single line without spaces.
func (form PathInfoJSON) NewWriter(out io.Writer, dir storepath.Dir, indent string) *PathInfoWriter {
	w := &PathInfoWriter{out: out, dir: dir, json: infoWriter{form: form, Writer: exactjson.Writer{Indent: indent}}}
	if w.err = cmp.Or(form.check(), checkDir(dir)); w.err != nil {
		return w
	}
	w.json.Open('{')
	if form.Version >= 2 {
		w.json.Key("info")
		w.json.Open('{')
	}
	return w
}

// Write writes a path and its info, or null if info is nil, because the path is not valid. The
// paths must be sorted, without duplicates. After an error, Write returns it again.
func (w *PathInfoWriter) Write(path storepath.Path, info *PathInfo, more ...JSONMember) error {
	if w.err == nil {
		w.err = w.writeMember(path, info, more)
	}
	const enough = 64 << 10
	if len(w.json.Buf) >= enough {
		w.flush()
	}
	return w.err
}

func (w *PathInfoWriter) writeMember(path storepath.Path, info *PathInfo, more []JSONMember) error {
	key, err := w.json.form.spellPath(w.dir, path)
	if err != nil {
		return &PathInfoJSONError{"", "", err}
	}
	if path <= w.last {
		return &PathInfoJSONError{path, "", fmt.Errorf("it comes after '%s', so the paths are not sorted", w.last)}
	}
	w.last = path
	w.json.Key(key)
	switch {
	case info == nil:
		w.json.Raw("null")
		return nil
	case info.Path != path:
		return &PathInfoJSONError{path, "", fmt.Errorf("the info is about '%s'", info.Path)}
	}
	return w.json.write(info, more)
}

// Close ends the text, and writes the rest of it. It does not close the io.Writer.
func (w *PathInfoWriter) Close() error {
	if w.err != nil {
		return w.err
	}
	w.json.Close('}')
	if w.json.form.Version >= 2 {
		w.json.Member("storeDir", string(w.dir))
		w.json.Key("version")
		w.json.Uint(uint64(w.json.form.Version))
		w.json.Close('}')
	}
	w.flush()
	return w.err
}

// flush writes the buffer, unless there was an error.
func (w *PathInfoWriter) flush() {
	if w.err == nil {
		_, w.err = w.out.Write(w.json.Buf)
	}
	w.json.Buf = w.json.Buf[:0]
}

// An infoWriter appends the JSON of path infos to a buffer.
type infoWriter struct {
	exactjson.Writer
	form PathInfoJSON
	more []JSONMember // additional members that are not written yet, sorted by key
}

// check returns an error for an unknown version.
func (form PathInfoJSON) check() error {
	if form.Version < minJSONVersion || form.Version > maxJSONVersion {
		return &PathInfoJSONError{"", "version", fmt.Errorf("unknown version %d", form.Version)}
	}
	return nil
}

// checkDir returns an error for a store directory that is not valid UTF-8, since JSON cannot
// represent it.
func checkDir(dir storepath.Dir) error {
	if !utf8.ValidString(string(dir)) {
		return &PathInfoJSONError{"", "storeDir", fmt.Errorf("%q is not UTF-8", string(dir))}
	}
	return nil
}

// write writes the object of an info. The members are sorted.
func (w *infoWriter) write(info *PathInfo, more []JSONMember) error {
	dir := info.Path.Dir()
	if err := w.checkInfo(dir, info); err != nil {
		return err
	}
	if err := w.setMore(info, more); err != nil {
		return err
	}
	w.Open('{')
	w.key("ca")
	w.contentAddress(info.CA)
	if !w.form.Pure {
		if err := w.deriver(dir, info.Deriver); err != nil {
			return &PathInfoJSONError{info.Path, "deriver", err}
		}
	}
	w.key("narHash")
	w.String(info.NARHash.SRI())
	w.key("narSize")
	w.Uint(info.NARSize)
	if err := w.references(dir, info.References); err != nil {
		return &PathInfoJSONError{info.Path, "references", err}
	}
	if !w.form.Pure {
		w.registrationTime(info)
		if err := w.signatures(info.Signatures); err != nil {
			return &PathInfoJSONError{info.Path, "signatures", err}
		}
	}
	w.key("storeDir")
	w.String(string(dir))
	if !w.form.Pure {
		w.key("ultimate")
		w.Buf = strconv.AppendBool(w.Buf, info.Ultimate)
	}
	w.key("version")
	w.Uint(uint64(w.form.Version))
	w.writeMoreBefore("\xff") // the rest: no key in UTF-8 has this byte
	w.Close('}')
	return nil
}

func (w *infoWriter) checkInfo(dir storepath.Dir, info *PathInfo) error {
	if err := w.form.check(); err != nil {
		return err
	}
	if _, err := dir.Parse(string(info.Path)); err != nil {
		return &PathInfoJSONError{"", "", err}
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	if info.NARHash.IsZero() {
		return &PathInfoJSONError{info.Path, "narHash", errors.New("the hash is unknown")}
	}
	return nil
}

// setMore checks and sorts the additional members.
func (w *infoWriter) setMore(info *PathInfo, more []JSONMember) error {
	for _, m := range more {
		switch value := m.Value.(type) {
		case uint64:
		case string:
			if !utf8.ValidString(value) {
				return &PathInfoJSONError{info.Path, m.Key, fmt.Errorf("%q is not UTF-8", value)}
			}
		default:
			return &PathInfoJSONError{info.Path, m.Key, fmt.Errorf("it has the type %T", value)}
		}
	}
	w.more = slices.SortedFunc(slices.Values(more), func(a, b JSONMember) int { return cmp.Compare(a.Key, b.Key) })
	return nil
}

// key writes the additional members that come before a member, and its key.
func (w *infoWriter) key(name string) {
	w.writeMoreBefore(name)
	w.Key(name)
}

func (w *infoWriter) writeMoreBefore(name string) {
	for ; len(w.more) > 0 && w.more[0].Key < name; w.more = w.more[1:] {
		w.Key(w.more[0].Key)
		switch value := w.more[0].Value.(type) {
		case string:
			w.String(value)
		case uint64:
			w.Uint(value)
		}
	}
}

// contentAddress writes a content address, which is null for none.
func (w *infoWriter) contentAddress(ca storepath.ContentAddress) {
	switch {
	case ca.IsZero():
		w.Raw("null")
	case w.form.Version == 1:
		w.String(ca.String())
	default:
		w.Open('{')
		w.Member("hash", ca.Hash().SRI())
		w.Member("method", ca.Method().String())
		w.Close('}')
	}
}

func (w *infoWriter) deriver(dir storepath.Dir, deriver storepath.Path) error {
	w.key("deriver")
	if deriver == "" {
		w.Raw("null")
		return nil
	}
	text, err := w.form.spellPath(dir, deriver)
	w.String(text)
	return err
}

func (w *infoWriter) references(dir storepath.Dir, references []storepath.Path) error {
	w.key("references")
	w.Open('[')
	for _, p := range asSet(references) {
		text, err := w.form.spellPath(dir, p)
		if err != nil {
			return err
		}
		w.Element()
		w.String(text)
	}
	w.Close(']')
	return nil
}

func (w *infoWriter) registrationTime(info *PathInfo) {
	w.key("registrationTime")
	if t := info.RegistrationTime; !t.IsZero() && t.Unix() != 0 {
		w.Buf = strconv.AppendInt(w.Buf, t.Unix(), 10)
	} else {
		w.Raw("null")
	}
}

func (w *infoWriter) signatures(texts []string) error {
	w.key("signatures")
	signatures, err := signature.ParseAll(texts)
	if err != nil {
		return err
	}
	w.Open('[')
	for _, s := range signatures {
		if !utf8.ValidString(s.KeyName()) {
			return fmt.Errorf("the key name %q is not UTF-8", s.KeyName())
		}
		w.Element()
		if w.form.Version < 3 {
			w.String(s.String())
			continue
		}
		object := s.JSONObject()
		w.Open('{')
		w.Member("keyName", object.KeyName)
		w.Member("sig", object.Sig)
		w.Close('}')
	}
	w.Close(']')
	return nil
}

// spellPath returns the JSON form of a path, which must be in dir.
func (form PathInfoJSON) spellPath(dir storepath.Dir, p storepath.Path) (string, error) {
	if _, err := dir.Parse(string(p)); err != nil {
		return "", err
	}
	if form.Version == 1 {
		return string(p), nil
	}
	return p.Base(), nil
}
