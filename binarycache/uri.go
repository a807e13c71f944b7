package binarycache

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pix/internal/compression"
	"pix/internal/redact"
	"pix/signature"
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

// parseURI reads a URI, and takes its parameters into the options.
func (o *Options) parseURI(uri string) (place, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return place{}, &URIError{redact.URL(uri), redact.Error(err).Error()}
	}
	fail := func(reason string) (place, error) { return place{}, &URIError{redact.URL(uri), reason} }
	if err := o.setParams(u.RawQuery); err != nil {
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

// setParams takes in the parameters of a URI.
func (o *Options) setParams(query string) error {
	params, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	for name, values := range params {
		if len(values) > 1 {
			return fmt.Errorf("the parameter %s is there more than once", name)
		}
		if err := o.setParam(name, values[0]); err != nil {
			return fmt.Errorf("the parameter %s: %w", name, err)
		}
	}
	if o.Compression != "" && !compression.CanEncode(o.Compression) {
		return fmt.Errorf("compressing with %q is not supported", o.Compression)
	}
	return nil
}

func (o *Options) setParam(name, value string) (err error) {
	switch name {
	case "compression":
		o.Compression = value
	case "compression-level":
		if o.CompressionLevel, err = strconv.Atoi(value); o.CompressionLevel == -1 {
			o.CompressionLevel = 0
		}
	case "secret-key", "secret-keys":
		err = o.addKeys(value)
	case "write-nar-listing":
		o.WriteListings, err = parseBool(value)
	case "index-debug-info":
		var wanted bool
		if wanted, err = parseBool(value); wanted {
			err = errors.New("it is not supported")
		}
	case "store":
		if value != string(o.StoreDir) {
			err = fmt.Errorf("it is not %s, the store directory of everything else", o.StoreDir)
		}
	case "priority", "want-mass-query", "trusted", "system-features", "path-info-cache-size",
		"parallel-compression", "local-nar-cache", "narinfo-compression", "ls-compression", "log-compression":
		// For what pix does not do, or does anyway.
	default:
		err = errors.New("it is unknown")
	}
	return err
}

// parseBool reads what Nix takes for true or false.
func parseBool(s string) (bool, error) {
	switch s {
	case "true", "yes", "1":
		return true, nil
	case "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
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
