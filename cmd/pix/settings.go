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

// A configured has nix.conf, which is read once, when it is first needed. All copies of an app share it.
type configured struct {
	conf   *nixconf.Conf
	err    error
	warned bool
}

// configuration returns the configuration. After an error, which is a usage error about a line that is no setting, it has
// only what variables set.
func (a *app) configuration() (*nixconf.Conf, error) {
	if a.conf == nil {
		a.conf = new(configured)
	}
	c := a.conf
	if c.conf != nil {
		return c.conf, c.err
	}
	var err error
	if c.conf, err = nixconf.Load(a.getenv); err != nil {
		c.conf, c.err = nixconf.FromVariables(a.getenv), &usageError{err}
	}
	return c.conf, c.err
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
		a.warn(err.Error())
	}
}

// warn prints a warning, unless the user wants no progress.
func (a *app) warn(text string) {
	if mode, err := a.progressMode(); err == nil && mode != progressNone {
		fmt.Fprintf(a.stderr, "pix: warning: %s\n", text)
	}
}

// cacheOptions returns the options of binary caches: what the configuration says, and the proxy of the
// environment. The error is about an invalid value, for which the options have the default.
func (a *app) cacheOptions() (*binarycache.Options, error) {
	conf, _ := a.configuration() // an error is a warning: logins do not depend on it
	r := conf.Reader()
	o := new(binarycache.Options)
	h := &o.HTTP
	h.Proxy = http.ProxyFromEnvironment
	h.NoHTTP2 = !r.Bool("http2")
	h.DownloadSpeed = 1024 * int64(r.Uint("download-speed"))
	h.Parallel = cmp.Or(min(r.Int("http-connections"), mostConnections), mostConnections)
	h.UserAgent = "pix"
	if suffix := r.Text("user-agent-suffix"); suffix != "" {
		h.UserAgent += " " + suffix
	}
	setOfClients(h, conf, r)
	if a.serves {
		h.Override = func(ctx context.Context, h *binarycache.HTTPOptions) {
			if conf := clientConfiguration(ctx, conf, ofClients...); conf != nil {
				setOfClients(h, conf, conf.Reader())
			}
		}
	}
	if err := r.Err(); err != nil {
		return o, &usageError{err}
	}
	return o, nil
}

// mostConnections is the largest number of requests to a cache at once, for 0, which means no limit.
const mostConnections = 1024

// ofClients are the settings that setOfClients reads.
var ofClients = []string{
	"netrc-file", "ssl-cert-file", "connect-timeout", "stalled-download-timeout", "download-attempts", "narinfo-cache-positive-ttl", "narinfo-cache-negative-ttl",
	"filetransfer-retry-delay", "filetransfer-retry-delay-rate-limited", "filetransfer-retry-max-delay", "filetransfer-retry-jitter",
}

// setOfClients sets the options of caches that clients of a daemon can change: logins, certificate authorities,
// how long caches may take, and how long their answers count.
func setOfClients(h *binarycache.HTTPOptions, conf *nixconf.Conf, r *nixconf.Reader) {
	h.Netrc = r.Text("netrc-file")
	h.CAFile = r.Text("ssl-cert-file")
	if conf.Get("ssl-cert-file").Origin.Source == nixconf.FromDefault {
		h.CAFile = "" // the authorities of the system, which Go finds in more places
	}
	const curls = 5 * time.Minute // where connect-timeout is 0
	h.ConnectTimeout = cmp.Or(r.Seconds("connect-timeout"), curls)
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

// clientConfiguration returns the configuration with the settings of the client whose call has this context, or
// nil if the client has set none of those with the names.
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

// setLocal sets the options of a store in a directory. The error is about an invalid value, for which
// the options have the default.
func setLocal(l *localstore.Options, conf *nixconf.Conf) error {
	r := conf.Reader()
	l.NoSignatures = !r.Bool("require-sigs")
	l.KeepOutputs, l.DropDerivers = r.Bool("keep-outputs"), !r.Bool("keep-derivations")
	l.AutoOptimise = r.Bool("auto-optimise-store")
	l.NoWAL = !r.Bool("use-sqlite-wal")
	l.NoSync, l.SyncObjects = !r.Bool("fsync-metadata"), r.Bool("fsync-store-paths")
	if most := r.Uint("max-free"); most > 0 { // so much is always free
		l.MinFree, l.MaxFree = r.Uint("min-free"), most
	}
	l.MinFreeInterval = r.Seconds("min-free-check-interval")
	l.ReservedSpace = reserved(r.Uint("gc-reserved-space"))
	l.AllowSymlinks = r.Bool("allow-symlinked-store")
	if err := r.Err(); err != nil {
		return &usageError{err}
	}
	return nil
}

// reserved returns how much space to reserve, where 0 means the default.
func reserved(size uint64) int64 {
	if size == 0 {
		return -1
	}
	return int64(min(size, math.MaxInt64))
}
