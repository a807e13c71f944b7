package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"pix/storepath"
	"pix/wire"
)

const (
	clientMagic = 0x6e697863
	daemonMagic = 0x6478696f
)

// Trust is what a daemon says of the user at the other end.
type Trust uint8

// The answers, numbered as in the protocol.
const (
	TrustUnknown Trust = iota // before 1.35, or the daemon does not know
	Trusted
	NotTrusted
)

func (t Trust) String() string {
	switch t {
	case Trusted:
		return "trusted"
	case NotTrusted:
		return "not trusted"
	}
	return "unknown"
}

// A Greeting is what a daemon says of itself in the handshake.
type Greeting struct {
	DaemonVersion Version // the newest that it speaks
	NixVersion    string  // Nix's own version, such as "2.34.8"; "" before 1.33
	Trust         Trust
}

// A MismatchError says that the other side does not speak the protocol.
type MismatchError struct {
	Reason   string
	Received []byte // the first bytes that came
}

func (e *MismatchError) Error() string {
	if len(e.Received) == 0 {
		return "no Nix daemon: " + e.Reason
	}
	return fmt.Sprintf("no Nix daemon: %s; received %s", e.Reason, showBytes(e.Received))
}

// showBytes prints what a program that is no daemon said: as text if it is, else in hex.
func showBytes(b []byte) string {
	text := strings.TrimSpace(string(b))
	for _, r := range text {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return fmt.Sprintf("%x", b)
		}
	}
	return fmt.Sprintf("%q", text)
}

// ClientHandshake greets a daemon and returns what both sides agreed on. It offers
// MaxVersion and [AllFeatures]. After it the daemon sends messages up to Last (or
// Error), as after a request. The error is a [*MismatchError] if the other side is no
// daemon, or one of a version that is too old; else an [*Error] or io.EOF.
func ClientHandshake(r *wire.Reader, w io.Writer, dir storepath.Dir) (Params, Greeting, error) {
	return ClientHandshakeWith(r, w, dir, AllFeatures)
}

// ClientHandshakeWith is [ClientHandshake] that offers those features.
func ClientHandshakeWith(r *wire.Reader, w io.Writer, dir storepath.Dir, features Features) (Params, Greeting, error) {
	return clientHandshake(r, w, dir, MaxVersion, features)
}

func clientHandshake(r *wire.Reader, w io.Writer, dir storepath.Dir, offer Version, features Features) (Params, Greeting, error) {
	var g Greeting
	params := Params{Version: offer, Dir: dir}
	hello := wire.AppendUint64(nil, clientMagic)
	_, err := w.Write(wire.AppendUint64(hello, uint64(offer)))
	version, readErr := readDaemonVersion(r) // also if writing failed: a program that has ended may have said why
	var mismatch *MismatchError
	switch {
	case err != nil && !errors.As(readErr, &mismatch):
		return params, g, err
	case readErr != nil:
		return params, g, readErr
	}
	g.DaemonVersion = version
	params.Version = min(offer, g.DaemonVersion)

	var next []byte
	if params.Version >= featureVersion {
		next = wire.AppendStrings(next, features.Names())
	}
	next = wire.AppendUint64(next, 0) // no CPU affinity
	next = wire.AppendUint64(next, 0) // no reserved space
	_, err = w.Write(next)            // if it fails, the daemon may have said why before it hung up
	c := codec{Params: params, in: r, part: "handshake"}
	if params.Version >= featureVersion {
		var names []string
		c.featureNames(&names)
		params.Features = featuresOf(names) & features
	}
	if c.greeting(&g); c.err != nil && err != nil {
		return params, g, err
	}
	return params, g, c.err
}

// readDaemonVersion reads the daemon's magic and version. What is no magic is shown, as
// soon as its first byte is there: a program that is no daemon may say little and then
// wait.
func readDaemonVersion(r *wire.Reader) (Version, error) {
	var words [2 * wire.WordSize]byte
	magic := wire.AppendUint64(nil, daemonMagic)
	for n := 0; n < len(words); {
		m, err := r.Read(words[n:])
		n += m
		if !bytes.HasPrefix(magic, words[:min(n, len(magic))]) {
			rest := make([]byte, min(r.Buffered(), 1024)) // what came in the same packet says more
			m, _ := io.ReadFull(r, rest)
			return 0, &MismatchError{"it does not answer with the daemon's magic number", append(words[:n], rest[:m]...)}
		}
		if err != nil && n < len(words) {
			return 0, &Error{"handshake: magic number and version", 0, inside(err)}
		}
	}
	v := binary.LittleEndian.Uint64(words[wire.WordSize:])
	if v>>16 != 0 || Version(v).Major() != MaxVersion.Major() || Version(v) < MinVersion {
		return 0, &MismatchError{fmt.Sprintf("it speaks protocol %d.%d, %s to 1.x are understood", v>>8, v&0xff, MinVersion), nil}
	}
	return Version(v), nil
}

// ServerHandshake answers a client's greeting and returns what both sides agreed on. It
// says of itself what g has; g.DaemonVersion is the newest version to offer, and
// features what to offer. After it the server sends messages up to Last. The error is a
// [*MismatchError] if the other side is no client, or one of a version that is too old.
func ServerHandshake(r *wire.Reader, w io.Writer, dir storepath.Dir, g Greeting, features Features) (Params, error) {
	return ServerHandshakeFunc(r, w, dir, g.DaemonVersion, func() (Greeting, Features) { return g, features })
}

// ServerHandshakeFunc is [ServerHandshake] for a server that has to ask another daemon what to say of
// itself. It calls greet when the client has said which version it speaks, so a connection on which
// nothing comes costs the other daemon nothing. The version of the greeting does not count.
func ServerHandshakeFunc(r *wire.Reader, w io.Writer, dir storepath.Dir, newest Version, greet func() (Greeting, Features)) (Params, error) {
	params := Params{Version: newest, Dir: dir}
	c := codec{Params: params, in: r, part: "handshake"}
	var magic, version uint64
	c.uint64("magic number", &magic)
	if c.err == nil && magic != clientMagic {
		return params, &MismatchError{"the client does not begin with its magic number", wire.AppendUint64(nil, magic)}
	}
	hello := wire.AppendUint64(nil, daemonMagic)
	if _, err := w.Write(wire.AppendUint64(hello, uint64(newest))); err != nil {
		return params, err
	}
	c.limited("version", &version, 0xffff)
	if c.err != nil {
		return params, c.err
	}
	v := Version(version)
	if v.Major() != MaxVersion.Major() || v < MinVersion {
		return params, &MismatchError{fmt.Sprintf("the client speaks protocol %s, %s to 1.x are understood", v, MinVersion), nil}
	}
	params.Version = min(v, newest)
	c.Params = params

	g, features := greet()
	out := codec{Params: params, part: "handshake"}
	if params.Version >= featureVersion {
		var theirs []string
		c.featureNames(&theirs)
		params.Features = featuresOf(theirs) & features
		ours := features.Names()
		out.featureNames(&ours)
		if c.err != nil {
			return params, c.err
		}
		if _, err := w.Write(out.out); err != nil { // Nix's client waits for them
			return params, err
		}
		out.out = nil
	}
	c.obsoleteAffinity()
	c.obsolete("reserved space", 0)
	out.greeting(&g)
	if c.err != nil {
		return params, c.err
	}
	if out.err != nil {
		return params, out.err
	}
	if len(out.out) == 0 {
		return params, nil
	}
	_, err := w.Write(out.out)
	return params, err
}

const featureVersion = MaxVersion // features are exchanged from 1.38 on

// maxFeatures is the number of features that the other side may name.
const maxFeatures = 1024

func (c *codec) featureNames(names *[]string) {
	limitedList(c, "features", names, maxFeatures, func(name *string) { c.name("feature", name) })
}

// greeting codes what Nix calls ClientHandshakeInfo.
func (c *codec) greeting(g *Greeting) {
	if c.Version >= MakeVersion(33) {
		c.limitedString("Nix version", &g.NixVersion, MaxPath)
	}
	if c.Version >= MakeVersion(35) {
		number(c, "trust", &g.Trust, uint64(NotTrusted))
	}
}

// obsoleteAffinity reads whether a CPU affinity follows, and the affinity.
func (c *codec) obsoleteAffinity() {
	var have bool
	if c.bool("CPU affinity", &have); have {
		c.obsolete("CPU affinity", 0)
	}
}
