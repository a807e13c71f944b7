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

// Trust says whether a daemon trusts its user.
type Trust uint8

// The levels of trust, numbered as in the protocol.
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

// A Greeting is what a daemon sends about itself in the handshake.
type Greeting struct {
	DaemonVersion Version // the newest version that the daemon speaks
	NixVersion    string  // Nix's own version, such as "2.34.8"; "" before 1.33
	Trust         Trust
}

// A MismatchError reports that the other side does not speak the protocol, or only a version
// that is too old.
type MismatchError struct {
	Reason   string
	Received []byte // the first bytes received
}

func (e *MismatchError) Error() string {
	if len(e.Received) == 0 {
		return "not a Nix daemon: " + e.Reason
	}
	return fmt.Sprintf("not a Nix daemon: %s; received %s", e.Reason, showBytes(e.Received))
}

// showBytes formats the output of a program that is not a daemon: printable text as such, other
// bytes in hexadecimal.
func showBytes(b []byte) string {
	text := strings.TrimSpace(string(b))
	for _, r := range text {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return fmt.Sprintf("%x", b)
		}
	}
	return fmt.Sprintf("%q", text)
}

// ClientHandshake greets a daemon and returns the negotiated parameters. It offers MaxVersion
// and [AllFeatures]. After the handshake the daemon sends messages up to Last or Error, as
// after a request. The error is a [*MismatchError] if the other side is not a daemon, or one
// that is too old; otherwise an [*Error] or io.EOF.
func ClientHandshake(r *wire.Reader, w io.Writer, dir storepath.Dir) (Params, Greeting, error) {
	return ClientHandshakeWith(r, w, dir, AllFeatures)
}

// ClientHandshakeWith is [ClientHandshake] with another set of offered features.
func ClientHandshakeWith(r *wire.Reader, w io.Writer, dir storepath.Dir, features Features) (Params, Greeting, error) {
	return clientHandshake(r, w, dir, MaxVersion, features)
}

func clientHandshake(r *wire.Reader, w io.Writer, dir storepath.Dir, offer Version, features Features) (Params, Greeting, error) {
	var g Greeting
	params := Params{Version: offer, Dir: dir}
	hello := wire.AppendUint64(nil, clientMagic)
	_, err := w.Write(wire.AppendUint64(hello, uint64(offer)))
	version, readErr := readDaemonVersion(r) // even after a failed write: a program that has exited may have printed the reason
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
	if params.Version >= FeatureVersion {
		next = wire.AppendStrings(next, features.Names())
	}
	next = wire.AppendUint64(next, 0) // no CPU affinity
	next = wire.AppendUint64(next, 0) // no reserved space
	_, err = w.Write(next)            // after a failed write, read the error that the daemon may have sent
	c := params.decoder(r, 0, "handshake")
	if params.Version >= FeatureVersion {
		var names []string
		c.featureNames(&names)
		params.Features = featuresOf(names) & features
	}
	if c.greeting(&g); c.err != nil && err != nil {
		return params, g, err
	}
	return params, g, c.err
}

// readDaemonVersion reads the daemon's magic number and version. It reports a wrong magic
// number at the first wrong byte: another program may print a short message and then wait for
// input.
func readDaemonVersion(r *wire.Reader) (Version, error) {
	var words [2 * wire.WordSize]byte
	magic := wire.AppendUint64(nil, daemonMagic)
	for n := 0; n < len(words); {
		m, err := r.Read(words[n:])
		n += m
		if !bytes.HasPrefix(magic, words[:min(n, len(magic))]) {
			rest := make([]byte, min(r.Buffered(), 1024)) // the rest of the packet helps to identify the program
			m, _ := io.ReadFull(r, rest)
			return 0, &MismatchError{"it does not answer with the daemon's magic number", append(words[:n], rest[:m]...)}
		}
		if err != nil && n < len(words) {
			return 0, &Error{"handshake: magic number and version", 0, inside(err)}
		}
	}
	v := binary.LittleEndian.Uint64(words[wire.WordSize:])
	if v>>16 != 0 || Version(v).Major() != MaxVersion.Major() || Version(v) < MinVersion {
		return 0, &MismatchError{fmt.Sprintf("it speaks protocol %d.%d, only %s to 1.x are supported", v>>8, v&0xff, MinVersion), nil}
	}
	return Version(v), nil
}

// ServerHandshake answers the greeting of a client and returns the negotiated parameters. It
// offers the version g.DaemonVersion and the given features, and sends the rest of g. After the
// handshake the server must send messages up to Last. The error is a [*MismatchError] if the
// other side is not a client, or one that is too old.
func ServerHandshake(r *wire.Reader, w io.Writer, dir storepath.Dir, g Greeting, features Features) (Params, error) {
	return ServerHandshakeFunc(r, w, dir, g.DaemonVersion, func() (Greeting, Features) { return g, features })
}

// ServerHandshakeFunc is [ServerHandshake] for a server that asks another daemon for its
// greeting. It calls greet only after the client has sent its version. So an idle connection
// costs the other daemon nothing. The DaemonVersion of that greeting is ignored.
func ServerHandshakeFunc(r *wire.Reader, w io.Writer, dir storepath.Dir, newest Version, greet func() (Greeting, Features)) (Params, error) {
	params := Params{Version: newest, Dir: dir}
	c := params.decoder(r, 0, "handshake")
	var magic, version uint64
	c.uint64("magic number", &magic)
	if c.err == nil && magic != clientMagic {
		return params, &MismatchError{"the client does not start with its magic number", wire.AppendUint64(nil, magic)}
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
		return params, &MismatchError{fmt.Sprintf("the client speaks protocol %s, only %s to 1.x are supported", v, MinVersion), nil}
	}
	params.Version = min(v, newest)
	c.Params = params

	g, features := greet()
	e, out := params.encoder(nil, 0, "handshake")
	if params.Version >= FeatureVersion {
		var theirs []string
		c.featureNames(&theirs)
		params.Features = featuresOf(theirs) & features
		ours := features.Names()
		e.featureNames(&ours)
		if c.err != nil {
			return params, c.err
		}
		if _, err := w.Write(out.out); err != nil { // Nix's client waits for them before it continues
			return params, err
		}
		out.out = nil
	}
	c.obsoleteAffinity()
	c.obsolete("reserved space", 0)
	e.greeting(&g)
	if c.err != nil {
		return params, c.err
	}
	if e.err != nil {
		return params, e.err
	}
	if len(out.out) == 0 {
		return params, nil
	}
	_, err := w.Write(out.out)
	return params, err
}

// FeatureVersion is the first version in which client and daemon exchange features: 1.38.
const FeatureVersion = MaxVersion

// maxFeatures limits the number of features that the other side may offer.
const maxFeatures = 1024

func (c *codec) featureNames(names *[]string) {
	limitedList(c, "features", names, maxFeatures, func(name *string) { c.name("feature", name) })
}

// greeting codes Nix's ClientHandshakeInfo.
func (c *codec) greeting(g *Greeting) {
	if c.Version >= MakeVersion(33) {
		c.name("Nix version", &g.NixVersion)
	}
	if c.Version >= MakeVersion(35) {
		number(c, "trust", &g.Trust, uint64(NotTrusted))
	}
}

// obsoleteAffinity reads the CPU affinity, which clients no longer set, and ignores it.
func (c *codec) obsoleteAffinity() {
	var have bool
	if c.bool("CPU affinity", &have); have {
		c.obsolete("CPU affinity", 0)
	}
}
