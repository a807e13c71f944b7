package nixconf

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// A Reader reads settings from a configuration. If the configuration has an invalid value for one of them,
// the methods return the default, and [Reader.Err] returns the error. So one invalid value does not
// disturb programs that do not need the setting.
//
//	r := conf.Reader()
//	keep, free := r.Bool("keep-outputs"), r.Uint("min-free")
//	if err := r.Err(); err != nil { … }
//
// The names must be in the table, and have a type for which the method is.
type Reader struct {
	conf *Conf
	err  error
}

// Reader returns a reader without an error.
func (c *Conf) Reader() *Reader { return &Reader{conf: c} }

// Err returns the error about the first invalid value, a [*SyntaxError], or nil.
func (r *Reader) Err() error { return r.err }

// Text returns the canonical text of a setting of any type.
func (r *Reader) Text(name string) string {
	v := r.conf.Get(name)
	if r.err == nil {
		r.err = v.Err
	}
	return v.Text
}

// Bool returns a boolean.
func (r *Reader) Bool(name string) bool { return r.Text(name) == "true" }

// Words returns a list or a set.
func (r *Reader) Words(name string) []string { return words(r.Text(name)) }

// SandboxPaths returns a list of sandbox paths, sorted by target.
func (r *Reader) SandboxPaths(name string) []SandboxPath {
	var list []SandboxPath
	paths := parseSandboxPaths(r.Text(name))
	for _, target := range slices.SortedFunc(maps.Keys(paths), comparePaths) {
		p := paths[target]
		p.Target = target
		list = append(list, p)
	}
	return list
}

// Uint returns a number. A negative number is 0.
func (r *Reader) Uint(name string) uint64 {
	n, _ := strconv.ParseUint(r.Text(name), 10, 64) // the text is canonical
	return n
}

// Int returns a number, or the largest int if the number is larger.
func (r *Reader) Int(name string) int { return int(min(r.Uint(name), math.MaxInt)) }

// Seconds returns a number of seconds.
func (r *Reader) Seconds(name string) time.Duration { return r.duration(name, time.Second) }

// Milliseconds returns a number of milliseconds.
func (r *Reader) Milliseconds(name string) time.Duration { return r.duration(name, time.Millisecond) }

// duration returns a number of units, or the largest number of them that fits.
func (r *Reader) duration(name string, unit time.Duration) time.Duration {
	return time.Duration(min(r.Uint(name), uint64(math.MaxInt64/unit))) * unit
}
