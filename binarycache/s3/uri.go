package s3

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"pix/binarycache"
	"pix/internal/redact"
	"pix/nixconf"
)

// The sizes in bytes that S3 allows for a part, and the default of Nix for the threshold.
const (
	minPart          = 5 << 20
	maxPart          = 5 << 30
	defaultThreshold = 100 << 20
)

// A bucket is what a URI says.
type bucket struct {
	name, prefix string
	profile      string // "" is the default one
	region       string
	scheme       string
	endpoint     string // "" is AWS's
	style        string // auto, path or virtual
	uploads      binarycache.S3Options
	others       url.Values // the parameters of caches behind HTTP
}

// parseURI parses a URI. The error is a [*binarycache.URIError].
func parseURI(uri string) (*bucket, error) {
	fail := func(err error) (*bucket, error) {
		return nil, &binarycache.URIError{URI: redact.URL(uri), Reason: redact.Error(err).Error()}
	}
	u, err := url.Parse(uri)
	if err != nil {
		return fail(err)
	}
	if u.Scheme != "s3" || u.Host == "" || u.Port() != "" || u.User != nil {
		return fail(errors.New("expected s3://BUCKET"))
	}
	if u.Fragment != "" {
		return fail(errors.New("it has a fragment"))
	}
	if slices.Contains(strings.Split(u.Path, "/"), "..") { // it would lead to another bucket
		return fail(errors.New("it has an invalid prefix"))
	}
	params, err := nixconf.ParseParams(u.RawQuery)
	if err != nil {
		return fail(err)
	}
	b := &bucket{name: u.Host, prefix: strings.Trim(u.Path, "/"), region: "us-east-1", scheme: "https", style: "auto", others: url.Values{}}
	b.uploads = binarycache.S3Options{Name: "s3://" + u.Host + strings.TrimRight(u.Path, "/"), PartSize: minPart, Threshold: defaultThreshold}
	for name, value := range params {
		if err := b.setParam(name, value); err != nil {
			return fail(fmt.Errorf("invalid parameter %s: %w", name, err))
		}
	}
	return b, nil
}

// setParam sets a parameter of the URI.
func (b *bucket) setParam(name, value string) (err error) {
	switch name {
	case "profile":
		if b.profile = value; value == "default" {
			b.profile = ""
		}
	case "region":
		b.region = value
	case "scheme":
		if value != "http" && value != "https" {
			return fmt.Errorf("'%s' is not http or https", value)
		}
		b.scheme = value
	case "endpoint":
		b.endpoint = value
	case "addressing-style":
		if value != "auto" && value != "path" && value != "virtual" {
			return fmt.Errorf("'%s' is not auto, path or virtual", value)
		}
		b.style = value
	case "storage-class":
		b.uploads.StorageClass = value
	case "multipart-upload":
		b.uploads.Multipart, err = nixconf.ParseBool(value)
	case "multipart-threshold":
		b.uploads.Threshold, err = parseSize(value, 0)
	case "multipart-chunk-size", "buffer-size":
		b.uploads.PartSize, err = parseSize(value, minPart)
	default:
		b.others.Set(name, value)
	}
	return err
}

// parseSize parses a size in bytes of at least least bytes, which a file or a part can have.
func parseSize(text string, least int64) (int64, error) {
	n, err := nixconf.ParseSize(text)
	if err != nil {
		return 0, fmt.Errorf("'%s' is not a size", text)
	}
	if least > 0 && (n < uint64(least) || n > maxPart) {
		return 0, fmt.Errorf("it must be 5 MiB to 5 GiB, and is %d bytes", n)
	}
	return int64(min(n, 1<<62)), nil
}

// url returns the URL of the cache, with the parameters of caches behind HTTP. warning is not empty if the style of the
// addresses was changed.
func (b *bucket) url() (u *url.URL, warning string, err error) {
	u = &url.URL{Scheme: b.scheme, Host: "s3." + b.region + ".amazonaws.com"}
	switch {
	case strings.Contains(b.endpoint, "://"):
		if u, err = url.Parse(b.endpoint); err != nil {
			return nil, "", fmt.Errorf("endpoint: %w", redact.Error(err))
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			return nil, "", fmt.Errorf("endpoint '%s' is not an HTTP URL", redact.URL(b.endpoint))
		}
		u.RawQuery, u.Fragment = "", ""
	case b.endpoint != "":
		u.Host = b.endpoint
	}
	if u.Hostname() == "" || strings.ContainsAny(u.Host, "/?#@\\") {
		return nil, "", fmt.Errorf("the endpoint has no host, or the region '%s' is invalid", b.region)
	}
	virtual := b.style == "virtual" || b.style == "auto" && b.endpoint == ""
	if virtual && strings.Contains(b.name, ".") {
		if b.style == "virtual" {
			return nil, "", fmt.Errorf("the name of bucket '%s' has a dot, so it cannot be a part of a host's name: "+
				"certificates would not match; use addressing-style=path", b.name)
		}
		virtual = false
		warning = fmt.Sprintf("the name of bucket '%s' has a dot, so the bucket is in the path of URLs; set 'addressing-style=path' to silence this warning", b.name)
	}
	if virtual && net.ParseIP(u.Hostname()) != nil {
		return nil, "", fmt.Errorf("endpoint '%s' is an address, so a bucket cannot be a part of its name; use addressing-style=path", b.endpoint)
	}
	inPath := b.name
	if virtual {
		inPath, u.Host = "", b.name+"."+u.Host
	}
	// Not URL.JoinPath, which would unescape a percent sign of the prefix a second time.
	if u.Path = path.Join(u.Path, inPath, b.prefix); u.Path != "" {
		u.Path = path.Join("/", u.Path)
	}
	u.RawPath = ""
	u.RawQuery = b.others.Encode()
	return u, warning, nil
}
