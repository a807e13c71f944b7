package binarycache

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pix/activity"
	"pix/internal/compression"
	"pix/internal/redact"
	"pix/nixconf"
	"pix/signature"
	"pix/storepath"
)

// A URIError says why a URI names no cache that can be opened.
type URIError struct {
	URI    string // without a password
	Reason string
}

func (e *URIError) Error() string { return fmt.Sprintf("binary cache '%s': %s", e.URI, e.Reason) }

// A place is where a cache is: a directory or a URL.
type place struct {
	dir  string
	base *url.URL
}

// parseURI parses a URI, and sets the options that its parameters have.
func (o *Options) parseURI(ctx context.Context, uri string) (place, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return place{}, &URIError{redact.URL(uri), redact.Error(err).Error()}
	}
	fail := func(reason string) (place, error) { return place{}, &URIError{redact.URL(uri), reason} }
	if err := o.setParams(ctx, u); err != nil {
		return fail(err.Error())
	}
	if u.Fragment != "" {
		return fail("it has a fragment")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return fail("the directory is not absolute")
		}
		return place{dir: filepath.Clean(u.Path)}, nil
	case "http", "https":
		if u.Host == "" {
			return fail("it has no host")
		}
		u.RawQuery, u.ForceQuery = "", false
		return place{base: u.JoinPath("/")}, nil
	}
	return fail("expected file://DIR, http://HOST or https://HOST")
}

// setParams sets the options that the parameters of a URI have. It warns the handler in ctx of others.
func (o *Options) setParams(ctx context.Context, u *url.URL) error {
	params, err := nixconf.ParseParams(u.RawQuery)
	if err != nil {
		return err
	}
	warn := func(format string, args ...any) {
		if h := activity.HandlerOf(ctx); h != nil {
			h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: "warning: " + fmt.Sprintf(format, args...)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		known, err := o.setParam(name, params[name])
		if !known && u.Scheme != "file" {
			known, err = o.HTTP.setParam(name, params[name])
		}
		switch {
		case err != nil:
			return fmt.Errorf("the parameter %s: %w", name, err)
		case !known && !slices.Contains(ignored, name) && (u.Scheme == "file" || !slices.Contains(ignoredHTTP, name)):
			warn("unknown setting '%s'", name)
		case name == "index-debug-info" && params[name] != "false":
			warn("index-debug-info has no effect: pix does not index debug information")
		}
	}
	if o.Compression != "" && !compression.CanEncode(o.Compression) {
		return fmt.Errorf("compressing with %q is not supported", o.Compression)
	}
	return nil
}

// ignored are the parameters of Nix that have no effect, ignoredHTTP those of caches behind HTTP alone: pix does
// the same without them, or a store that substitutes obeys them.
var (
	ignored = []string{
		"priority", "want-mass-query", "trusted", "system-features", "path-info-cache-size",
		"parallel-compression", "local-nar-cache", "index-debug-info",
	}
	ignoredHTTP = []string{"narinfo-compression", "ls-compression", "log-compression"}
)

// setParam sets the option that a parameter of any cache has.
func (o *Options) setParam(name, value string) (known bool, err error) {
	switch name {
	case "compression":
		o.Compression = value
	case "compression-level":
		if o.CompressionLevel, err = strconv.Atoi(value); err != nil {
			err = fmt.Errorf("'%s' is no whole number", value)
		}
		o.CompressionLevel = max(o.CompressionLevel, 0) // -1 is the usual one
	case "secret-key", "secret-keys":
		err = o.addKeys(value)
	case "write-nar-listing":
		o.WriteListings, err = nixconf.ParseBool(value)
	case "store":
		o.StoreDir, err = storepath.ParseDir(filepath.Clean(value))
	default:
		return false, nil
	}
	return true, err
}

// setParam sets the option that a parameter of a cache behind HTTP has. In Nix, 0 leaves a number to the
// configuration.
func (o *HTTPOptions) setParam(name, value string) (known bool, err error) {
	delays := map[string]*time.Duration{
		"retry-delay": &o.RetryDelay, "retry-delay-rate-limited": &o.RateLimitedDelay, "retry-max-delay": &o.MaxRetryDelay,
	}
	switch delay := delays[name]; {
	case name == "tls-certificate":
		o.Certificate = value
	case name == "tls-private-key":
		o.PrivateKey = value
	case name == "retry-attempts" || delay != nil:
		n, err := nixconf.ParseSize(value)
		switch {
		case err != nil || n > math.MaxUint32:
			return true, fmt.Errorf("'%s' is no number below 2^32", value)
		case n == 0:
		case delay != nil:
			*delay = time.Duration(n) * time.Millisecond
		default:
			o.Tries = int(min(n, math.MaxInt32))
		}
	default:
		return false, nil
	}
	return true, nil
}

// addKeys reads files with secret keys, with commas between their names.
func (o *Options) addKeys(files string) error {
	keys := o.SecretKeys[:len(o.SecretKeys):len(o.SecretKeys)]
	for file := range strings.SplitSeq(files, ",") {
		text, err := readLimited(file, maxSmall)
		if err != nil {
			return err
		}
		key, err := signature.ParseSecretKey(string(text))
		if err != nil {
			return fmt.Errorf("the file '%s': %w", file, err)
		}
		keys = append(keys, key)
	}
	o.SecretKeys = keys
	return nil
}

// readLimited reads a file of no more than limit bytes.
func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readUpTo(f, limit)
}
