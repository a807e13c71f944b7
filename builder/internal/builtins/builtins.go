// Package builtins has the builders that are functions of pix instead of programs: builtin:buildenv,
// builtin:fetchurl and builtin:unpack-channel.
//
// A builtin runs in a process of its own, as the user of the build, and in the same sandbox as a program. It reads
// files of hostile inputs, which must not get it around the sandbox. For example, a file:// URL names a file of the
// sandbox. Its input comes over a socket from the process that has started the build.
//
// Sources: src/libstore/builtins in Nix.
package builtins

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pix/activity"
	"pix/builder/sandbox"
)

// An Input is the input of a builtin.
type Input struct {
	// Env is the environment of the derivation, and Outputs has the paths at which the outputs are made.
	Env     map[string]string
	Outputs map[string]string

	// Networked is set if the derivation is fixed or impure. FileHash is the hash of a fixed output that is a file:
	// the algorithm, a slash and the digest in base 16.
	Networked bool
	FileHash  string

	// HashedMirrors are URLs. A mirror may have a file at the URL followed by a slash and the FileHash.
	HashedMirrors []string

	// Netrc is a netrc file with logins for hosts. Certificates are the trusted authorities in PEM form; nil means
	// the authorities of the system. Proxies are the variables http_proxy, https_proxy, all_proxy and no_proxy.
	Netrc, Certificates []byte
	Proxies             map[string]string
}

// Encode returns the input for [sandbox.Request].
func Encode(in *Input) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(in)
	return b.Bytes(), err
}

// A builtin makes the outputs. Its error becomes the last lines of the log.
type builtin func(ctx context.Context, in *Input, log *logger) error

var all = map[string]builtin{"buildenv": buildenv, "fetchurl": fetchurl, "unpack-channel": unpackChannel}

func init() {
	for name, f := range all {
		sandbox.Register(name, func(ctx context.Context, input []byte, log io.Writer) error {
			in := new(Input)
			if err := gob.NewDecoder(bytes.NewReader(input)).Decode(in); err != nil {
				return err
			}
			return indented(f(ctx, in, &logger{w: log}))
		})
	}
}

// attribute returns a variable of the derivation, which must exist.
func (in *Input) attribute(name string) (string, error) {
	value, ok := in.Env[name]
	if !ok {
		return "", fmt.Errorf("attribute '%s' missing", name)
	}
	return value, nil
}

// output returns the path of the output "out".
func (in *Input) output(builtin string) (string, error) {
	out, ok := in.Outputs["out"]
	if !ok {
		return "", fmt.Errorf("'builtin:%s' requires an 'out' output", builtin)
	}
	return out, nil
}

// A traceError is an error with a line that names the action during which it happened.
type traceError struct {
	trace string
	err   error
}

func (e *traceError) Error() string {
	return "\n… " + e.trace + "\n\nerror: " + e.err.Error()
}

func (e *traceError) Unwrap() error { return e.err }

// indented returns an error with the text as Nix prints it after "error: ".
func indented(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(activity.Indent(err.Error()))
}

// A logger writes messages for the user as lines of the log, in the form in which Nix's own builders do.
type logger struct {
	w    io.Writer
	last uint64 // number of an activity
}

func (l *logger) event(fields map[string]any) {
	line, err := json.Marshal(fields)
	if err == nil { // strings and numbers can always be marshalled
		fmt.Fprintf(l.w, "@nix %s\n", line)
	}
}

// warn reports a warning.
func (l *logger) warn(format string, args ...any) {
	const warning = 1
	l.event(map[string]any{"action": "msg", "level": warning, "msg": "warning: " + fmt.Sprintf(format, args...)})
}

// A transfer is the activity of a download.
type transfer struct {
	log *logger
	id  uint64
}

// The numbers of Nix's log protocol.
const (
	levelTalkative   = 4
	typeFileTransfer = 101
	resultProgress   = 105
)

func (l *logger) startTransfer(url string) transfer {
	l.last++
	l.event(map[string]any{"action": "start", "id": l.last, "level": levelTalkative, "type": typeFileTransfer, "text": "downloading '" + url + "'", "fields": []string{url}, "parent": 0})
	return transfer{l, l.last}
}

func (t transfer) progress(done, expected int64) {
	t.log.event(map[string]any{"action": "result", "id": t.id, "type": resultProgress, "fields": []int64{done, max(0, expected), 0, 0}})
}

func (t transfer) stop() { t.log.event(map[string]any{"action": "stop", "id": t.id}) }
