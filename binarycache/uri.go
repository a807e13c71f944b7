package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// A URIError reports why a cache cannot be opened from its URI.
type URIError struct {
	URI    string // without a password
	Reason string
}

func (e *URIError) Error() string { return fmt.Sprintf("binary cache '%s': %s", e.URI, e.Reason) }

// A location is the location of a cache: a directory or a URL.
type location struct {
	dir  string
	base *url.URL
}

// parseURI parses a URI, and sets the options from its parameters.
func (o *Options) parseURI(ctx context.Context, uri string) (location, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return location{}, &URIError{redact.URL(uri), redact.Error(err).Error()}
	}
	fail := func(reason string) (location, error) { return location{}, &URIError{redact.URL(uri), reason} }
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
		return location{dir: filepath.Clean(u.Path)}, nil
	case "http", "https":
		if u.Host == "" {
			return fail("it has no host")
		}
		u.RawQuery, u.ForceQuery = "", false
		return location{base: u.JoinPath("/")}, nil
	}
	return fail("expected file://DIR, http://HOST or https://HOST")
}

// setParams sets options from the parameters of a URI. It sends warnings about unknown ones to the handler in ctx.
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
			return fmt.Errorf("invalid parameter %s: %w", name, err)
		case !known && !slices.Contains(ignored, name):
			warn("unknown setting '%s'", name)
		case name == "index-debug-info" && params[name] != "false":
			warn("index-debug-info has no effect: pix does not index debug information")
		}
	}
	for _, method := range []string{o.Compression, o.HTTP.NarInfoEncoding, o.HTTP.ListingEncoding, o.HTTP.LogEncoding} {
		if method != "" && !compression.CanEncode(method) {
			return fmt.Errorf("compressing with %q is not supported", method)
		}
	}
	return nil
}

// ignored are the parameters of Nix that have no effect: pix behaves the same without them, or package substitute uses
// them.
var ignored = []string{
	"priority", "want-mass-query", "trusted", "system-features", "path-info-cache-size",
	"parallel-compression", "local-nar-cache", "index-debug-info",
}

// setParam sets the option for a parameter that every cache has.
func (o *Options) setParam(name, value string) (known bool, err error) {
	switch name {
	case "compression":
		o.Compression = value
	case "compression-level":
		if o.CompressionLevel, err = strconv.Atoi(value); err != nil {
			err = fmt.Errorf("'%s' is not an integer", value)
		}
		o.CompressionLevel = max(o.CompressionLevel, 0) // in Nix, -1 is the default level
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

// setParam sets the option for a parameter of caches behind HTTP. As in Nix, 0 means that the option
// keeps its value.
func (o *HTTPOptions) setParam(name, value string) (known bool, err error) {
	delays := map[string]*time.Duration{
		"retry-delay": &o.RetryDelay, "retry-delay-rate-limited": &o.RateLimitedDelay, "retry-max-delay": &o.MaxRetryDelay,
	}
	switch delay := delays[name]; {
	case name == "tls-certificate":
		o.Certificate = value
	case name == "tls-private-key":
		o.PrivateKey = value
	case name == "narinfo-compression":
		o.NarInfoEncoding = value
	case name == "ls-compression":
		o.ListingEncoding = value
	case name == "log-compression":
		o.LogEncoding = value
	case name == "retry-attempts" || delay != nil:
		n, err := nixconf.ParseSize(value)
		switch {
		case err != nil || n > math.MaxUint32:
			return true, fmt.Errorf("'%s' is not a number below 2^32", value)
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

// addKeys reads secret keys from files, whose names are separated by commas.
func (o *Options) addKeys(files string) error {
	keys := o.SecretKeys[:len(o.SecretKeys):len(o.SecretKeys)]
	for file := range strings.SplitSeq(files, ",") {
		text, err := readLimited(file, maxSmall)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no file '%s' with a secret key", file)
		}
		if err != nil {
			return err
		}
		key, err := signature.ParseSecretKey(string(text))
		if err != nil {
			return fmt.Errorf("file '%s': %w", file, err)
		}
		keys = append(keys, key)
	}
	o.SecretKeys = keys
	return nil
}

// readLimited reads a file of at most limit bytes.
func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readUpTo(f, limit)
}
