package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"pix/binarycache"
	"pix/localstore"
	"pix/nixconf"
	"pix/server"
)

// A configuration is nix.conf. It is read once, when it is first needed.
type configuration struct {
	ctx    context.Context // ends the reading of files that block, such as pipes
	conf   *nixconf.Conf
	err    error
	warned bool
}

// configuration returns the settings of nix.conf. The error is a usage error about a line that cannot be parsed;
// only environment variables count then.
func (a *app) configuration() (*nixconf.Conf, error) {
	c := a.conf
	if c.conf != nil {
		return c.conf, c.err
	}
	var err error
	if c.conf, err = nixconf.Load(c.ctx, a.getenv); err != nil {
		c.conf, c.err = nixconf.FromVariables(a.getenv), &usageError{err}
	}
	for _, o := range a.flags.options { // their values were checked when the flag was parsed
		if err := c.conf.Set(o); err != nil && c.err == nil {
			c.err = &usageError{err}
		}
	}
	return c.conf, c.err
}

// maxSettingFile is the size in bytes of the largest file with a key or with passwords that a setting names.
const maxSettingFile = 1 << 20

// read returns the contents of a small file that a setting names.
func (c *configuration) read(file string) ([]byte, error) {
	return readContents(c.ctx, file, maxSettingFile)
}

// warnOfConfiguration prints the warnings about the configuration once.
func (a *app) warnOfConfiguration() {
	conf, err := a.configuration()
	if a.conf.warned {
		return
	}
	a.conf.warned = true
	for _, text := range conf.Warnings() {
		a.warn(text)
	}
	if err != nil {
		a.warn(errorText(err))
	}
}

// warn prints a warning, unless the user wants no progress.
func (a *app) warn(text string) {
	if mode, err := a.progressMode(); err == nil && mode != progressNone {
		fmt.Fprintf(a.stderr, "pix: warning: %s\n", safeText(text))
	}
}

// cacheOptions returns the options of binary caches from the configuration, with the proxy of the
// environment. The error is about an invalid value; the options have its default instead.
func (a *app) cacheOptions(serving servingMode) (*binarycache.Options, error) {
	conf, _ := a.configuration() // an error is a warning: logins do not depend on it
	r := conf.Reader()
	o := new(binarycache.Options)
	h := &o.HTTP
	h.Proxy = http.ProxyFromEnvironment
	h.NoHTTP2 = !r.Bool("http2")
	h.DownloadSpeed = 1024 * int64(r.Uint("download-speed"))
	h.Parallel = cmp.Or(min(r.Int("http-connections"), maxRequests), maxRequests)
	h.UserAgent = "pix"
	if suffix := r.Text("user-agent-suffix"); suffix != "" {
		h.UserAgent += " " + suffix
	}
	applyClientSettings(h, conf, r)
	if serving != notServing {
		h.Override = func(ctx context.Context, h *binarycache.HTTPOptions) {
			if conf := clientConfiguration(ctx, conf, clientSettings...); conf != nil {
				applyClientSettings(h, conf, conf.Reader())
			}
		}
	}
	if err := r.Err(); err != nil {
		return o, &usageError{err}
	}
	return o, nil
}

// maxRequests is the number of simultaneous requests to a cache if http-connections is 0, which means no limit.
const maxRequests = 1024

// clientSettings are the settings that applyClientSettings reads.
var clientSettings = []string{
	"netrc-file", "ssl-cert-file", "connect-timeout", "stalled-download-timeout", "download-attempts", "narinfo-cache-positive-ttl", "narinfo-cache-negative-ttl",
	"filetransfer-retry-delay", "filetransfer-retry-delay-rate-limited", "filetransfer-retry-max-delay", "filetransfer-retry-jitter",
}

// applyClientSettings sets the options of caches that clients of a daemon can change: logins, certificate
// authorities, timeouts, retries and the lifetime of cached narinfos.
func applyClientSettings(h *binarycache.HTTPOptions, conf *nixconf.Conf, r *nixconf.Reader) {
	h.Netrc = r.Text("netrc-file")
	h.CAFile = r.Text("ssl-cert-file")
	if conf.Get("ssl-cert-file").Origin.Source == nixconf.FromDefault {
		h.CAFile = "" // the authorities of the system, which Go finds in more places than Nix
	}
	const curlDefault = 5 * time.Minute // curl's timeout if connect-timeout is 0
	h.ConnectTimeout = cmp.Or(r.Seconds("connect-timeout"), curlDefault)
	h.StallTimeout = cmp.Or(r.Seconds("stalled-download-timeout"), -1)
	h.ResponseTimeout = h.StallTimeout
	h.Tries = max(min(r.Int("download-attempts"), math.MaxInt32), 1)
	h.PositiveTTL = cmp.Or(r.Seconds("narinfo-cache-positive-ttl"), -1)
	h.NegativeTTL = cmp.Or(r.Seconds("narinfo-cache-negative-ttl"), -1)
	h.RetryDelay = cmp.Or(r.Milliseconds("filetransfer-retry-delay"), 1)
	h.RateLimitedDelay = cmp.Or(r.Milliseconds("filetransfer-retry-delay-rate-limited"), 1)
	h.MaxRetryDelay = cmp.Or(r.Milliseconds("filetransfer-retry-max-delay"), 1)
	h.NoJitter = !r.Bool("filetransfer-retry-jitter")
}

// clientConfiguration returns conf with the settings of the client whose call has this context, or nil if the
// client has set none of the named settings.
func clientConfiguration(ctx context.Context, conf *nixconf.Conf, names ...string) *nixconf.Conf {
	set := server.SettingsOf(ctx)
	if set == nil {
		return nil
	}
	for _, name := range names {
		s := nixconf.Find(name)
		for _, name := range append([]string{s.Name, "extra-" + s.Name}, s.Aliases...) {
			if _, has := set.Overrides[name]; has {
				return withClientSettings(conf, set)
			}
		}
	}
	return nil
}

// setLocal sets the options of a store in a directory from the configuration. The error is about an invalid
// value; the options have its default instead.
func setLocal(l *localstore.Options, conf *nixconf.Conf) error {
	r := conf.Reader()
	l.NoSignatures = !r.Bool("require-sigs")
	l.KeepOutputs, l.DropDerivers = r.Bool("keep-outputs"), !r.Bool("keep-derivations")
	l.AutoOptimise = r.Bool("auto-optimise-store")
	l.NoWAL = !r.Bool("use-sqlite-wal")
	l.NoSync, l.SyncObjects = !r.Bool("fsync-metadata"), r.Bool("fsync-store-paths")
	if maxFree := r.Uint("max-free"); maxFree > 0 { // the disk always has 0 free bytes, so 0 needs no collection
		l.MinFree, l.MaxFree = r.Uint("min-free"), maxFree
	}
	l.MinFreeInterval = r.Seconds("min-free-check-interval")
	l.ReservedSpace = reserved(r.Uint("gc-reserved-space"))
	l.AllowSymlinks = r.Bool("allow-symlinked-store")
	if err := r.Err(); err != nil {
		return &usageError{err}
	}
	return nil
}

// reserved returns the option ReservedSpace for the setting gc-reserved-space. The setting 0 reserves nothing, and
// the option 0 is the default, so it returns -1 for 0.
func reserved(size uint64) int64 {
	if size == 0 {
		return -1
	}
	return int64(min(size, math.MaxInt64))
}
