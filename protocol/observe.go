package protocol

import (
	"fmt"
	"math"
	"strings"

	"pix/derivation"
	"pix/internal/redact"
	"pix/nixhash"
	"pix/wire"
)

// The functions in this file are for a program that observes a connection between a client and a
// daemon. They read the parts of a handshake, and remove secrets from messages before these are shown or recorded.

// ReadHello reads the magic number and the version with which a side begins: the daemon or the
// client. The version may be newer than [MaxVersion]. The error is a [*MismatchError] if the side
// does not speak the protocol, or only a version that is too old.
func ReadHello(r *wire.Reader, daemon bool) (Version, error) {
	want := uint64(clientMagic)
	if daemon {
		want = daemonMagic
	}
	magic, err := r.Uint64()
	if err != nil {
		return 0, err
	}
	if magic != want {
		return 0, &MismatchError{fmt.Sprintf("the %s does not start with its magic number", printSide(daemon)), wire.AppendUint64(nil, magic)}
	}
	v, err := r.Uint64()
	if err != nil {
		return 0, inside(err)
	}
	if v>>16 != 0 || Version(v).Major() != MaxVersion.Major() || Version(v) < MinVersion {
		return 0, &MismatchError{fmt.Sprintf("the %s speaks protocol %d.%d, only %s to 1.x are supported", printSide(daemon), v>>8, v&0xff, MinVersion), nil}
	}
	return Version(v), nil
}

// ReadFeatureNames reads the names of the features that a side offers, also unknown ones.
func ReadFeatureNames(r *wire.Reader) ([]string, error) {
	c := Params{Version: FeatureVersion}.decoder(r, 0, "handshake")
	var names []string
	c.featureNames(&names)
	return names, c.err
}

// ParseFeatures returns the set of the given features, and the names that are unknown.
func ParseFeatures(names []string) (known Features, unknown []string) {
	for _, name := range names {
		f := featuresOf([]string{name})
		if known |= f; f == 0 {
			unknown = append(unknown, name)
		}
	}
	return known, unknown
}

// ReadObsolete reads the end of a client's handshake: the CPU affinity and the reserved space, which
// daemons ignore.
func ReadObsolete(r *wire.Reader) error {
	c := Params{Version: MinVersion}.decoder(r, 0, "handshake")
	c.obsoleteAffinity()
	c.obsolete("reserved space", 0)
	return c.err
}

// ReadGreeting reads what a daemon sends about itself after the exchange of versions and
// features. DaemonVersion stays as it is.
func (p Params) ReadGreeting(r *wire.Reader, g *Greeting) error {
	c := p.decoder(r, 0, "handshake")
	c.greeting(g)
	return c.err
}

// WithoutSecrets returns a request without the values of settings, and of environment variables of
// a build, whose names say that they are secret, such as access tokens. In the other values it
// replaces logins in URLs, parameters such as "token", and the passwords of netrc files. It does
// not change r.
func WithoutSecrets(r Request) Request {
	switch r := r.(type) {
	case *SetOptionsRequest:
		if len(r.Overrides) == 0 {
			return r
		}
		shown := *r
		shown.Overrides = make(map[string]string, len(r.Overrides))
		for name, value := range r.Overrides {
			shown.Overrides[name] = withoutSecret(name, value)
		}
		return &shown
	case *BuildDerivationRequest:
		if r.Derivation == nil {
			return r
		}
		shown, drv := *r, *r.Derivation
		env := make([]derivation.Entry[string, string], drv.Env.Len())
		for i := range env {
			name, value := drv.Env.At(i)
			env[i] = derivation.Entry[string, string]{Key: name, Value: withoutSecret(name, value)}
		}
		drv.Env, shown.Derivation = derivation.MapOf(env...), &drv
		return &shown
	}
	return r
}

// withoutSecret returns the value of a setting or a variable as it is shown. The variable of
// structured attributes contains names, so a word such as "token" anywhere hides its whole value.
func withoutSecret(name, value string) string {
	if value != "" && (redact.IsSecret(name) || name == derivation.StructuredAttrsKey && redact.IsSecret(value)) {
		return redact.Secret
	}
	return redact.Text(value)
}

// TraceDigest returns the size and the SHA-256 of a body that a trace does not contain, as
// [Params.TraceRequest] returns a request.
func TraceDigest(size uint64, hash nixhash.Hash) string {
	c, form := Params{}.traceEncoder(dataName, -1)
	c.traceDigest(&size, &hash)
	return form.line(c.err)
}

// ParseTraceDigest parses a line of [TraceDigest]. If it is a line of [TraceData], ok is false. The
// error is a [*TraceError].
func ParseTraceDigest(line string) (size uint64, hash nixhash.Hash, ok bool, err error) {
	if !strings.HasPrefix(line, dataName+" size=") {
		return 0, nixhash.Hash{}, false, nil
	}
	c, form := Params{}.traceDecoder(line)
	c.expectWord(form, dataName)
	if c.traceDigest(&size, &hash); !c.traceEnd(form) {
		return 0, nixhash.Hash{}, true, c.err
	}
	return size, hash, true, nil
}

func (c *codec) traceDigest(size *uint64, hash *nixhash.Hash) {
	number(c, "size", size, math.MaxInt64)
	if c.err == nil {
		got, err := c.form.hash("sha256", *hash)
		assign(c, "sha256", hash, got, err)
	}
}
