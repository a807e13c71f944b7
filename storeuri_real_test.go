package pix_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"pix"
	"pix/activity"
	"pix/binarycache"
	"pix/binarycache/s3"
	"pix/internal/realnix"
)

// parameters are parameters of some store of Nix, with valid values.
const parameters = "addressing-style=auto base64-ssh-public-host-key= build-dir=DIR/tmp/b check-mount=true compression=none " +
	"compression-level=1 endpoint=e foo=1 ignore-gc-delete-failure=false index-debug-info=false local-nar-cache=DIR/tmp/c " +
	"log=DIR/tmp/l log-compression=none ls-compression=none lower-store=/x max-connection-age=3 max-connections=2 " +
	"multipart-chunk-size=1 multipart-threshold=1 multipart-upload=false narinfo-compression=none parallel-compression=true " +
	"path-info-cache-size=3 priority=3 profile=p read-only=false real=DIR/tmp/r region=r remount-hook=x " +
	"require-sigs=true scheme=x state=DIR/tmp/s storage-class=x system-features=a " +
	"trusted=true upper-layer=/x use-roots-daemon=false want-mass-query=true write-nar-listing=true"

// pix and Nix have the same warnings about unknown parameters.
func TestUnknownParametersOfNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	for _, uri := range []string{"local?root=DIR/tmp/zz", "unix:///nowhere/socket?", "file://DIR/tmp/cache?", "http://127.0.0.1:1?",
		"s3://bucket?endpoint=127.0.0.1:1&scheme=http&multipart-chunk-size=6000000"} { // the first of duplicates counts
		uri += "&" + strings.ReplaceAll(parameters, " ", "&")
		cmd := d.Command(t.Context(), "nix", "store", "info", "--store", strings.ReplaceAll(uri, "DIR", ""))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		cmd.Env = append(cmd.Env, "NIX_CONFIG=extra-experimental-features = read-only-local-store\ndownload-attempts = 1")
		cmd.Run() // fails for stores that do not exist
		var want []string
		for line := range strings.Lines(stderr.String()) {
			if strings.HasPrefix(line, "warning: unknown setting") {
				want = append(want, strings.TrimSpace(line))
			}
		}
		if len(want) == 0 {
			t.Fatal(&stderr)
		}
		var got []string
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
			if log, ok := e.(activity.Log); ok {
				got = append(got, log.Text)
			}
		}))
		ctx, cancel := context.WithCancel(ctx)
		if strings.HasPrefix(uri, "http") || strings.HasPrefix(uri, "s3") {
			cancel() // parameters are parsed before the first request
		}
		s, err := pix.Open(ctx, strings.ReplaceAll(uri, "DIR", t.TempDir()), &pix.Options{S3: openUnsigned})
		cancel()
		if err == nil {
			s.Close()
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: warnings of pix\n%s\nwarnings of Nix\n%s", uri, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// openUnsigned opens a cache in S3 without a search for credentials.
func openUnsigned(ctx context.Context, uri string, opts *binarycache.Options) (*binarycache.Store, error) {
	return s3.OpenWith(ctx, uri, nil, opts)
}
