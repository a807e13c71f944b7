package binarycache

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"time"

	"pix/internal/descriptors"
	"pix/signature"
	"pix/storepath"
)

// Options say how a cache is used. Nil and the zero values are useful. The parameters of
// a URI overrule them.
type Options struct {
	// StoreDir is the store directory that the cache must be for; "" is
	// [storepath.DefaultDir].
	StoreDir storepath.Dir

	// Compression is how archives are compressed that are added: "zstd", "xz", "gzip",
	// "br" or "none". "" is zstd, which every Nix since 2.4 reads, and which takes a small
	// part of the time that xz does; xz, the default of Nix, is what 2.3 needs.
	Compression string

	// CompressionLevel is a level of the method; 0 is its usual one. Xz has no others.
	CompressionLevel int

	// SecretKeys sign what is added.
	SecretKeys []signature.SecretKey

	// WriteListings puts beside each archive that is added what is in it.
	WriteListings bool

	// SyncObjects writes the names of files to the disk, as well as their contents, each before a file that depends
	// on it. Then an object that was added survives a power cut. Without it, the last objects may be missing
	// after a power cut, and a narinfo may be there whose archive is not. Only directories have such an option.
	SyncObjects bool

	// HTTP says how caches are asked that are not directories.
	HTTP HTTPOptions
}

// HTTPOptions say how a cache behind HTTP is asked. The zero values are useful.
type HTTPOptions struct {
	// Client sends the requests; nil is a client of the store's own, with HTTP/2 where the server has
	// it. Before the client's own CheckRedirect, the store sets the login of each redirected request.
	Client *http.Client

	// Proxy, CAFile, Certificate, PrivateKey and NoHTTP2 are for the store's own client.
	//
	// Proxy says which proxy a request takes, such as [http.ProxyFromEnvironment]; nil is none. CAFile is the
	// path of a file with the certificate authorities to trust, in PEM; "" trusts the authorities of the system.
	// Certificate and PrivateKey are the paths of files, in PEM, by which the client identifies itself.
	Proxy                   func(*http.Request) (*url.URL, error)
	CAFile                  string
	Certificate, PrivateKey string
	NoHTTP2                 bool

	// Netrc is the path of a file with logins and passwords for hosts, in the format of curl and Nix;
	// "" is no file. The file completes the login in a URL: http://me@HOST gets the password of "me".
	// A host that a server names, in a redirect or in a narinfo, gets a login only from a complete
	// entry for exactly that host. It gets none by HTTP if the cache or an earlier redirect had HTTPS.
	//
	// The file is read again when it has changed. If it cannot be read, there are no passwords, and the
	// handler in the context gets a warning (see [pix/activity]).
	Netrc string

	// UserAgent is how the store names itself; "" is "pix".
	UserAgent string

	// ConnectTimeout is how long a connection may take, with its TLS handshake; 0 is 15 s.
	// ResponseTimeout is how long an answer may take to begin after that; 0 is 60 s. StallTimeout is how
	// long a reader may wait for 1024 bytes of a body; 0 is 60 s. A negative timeout is no limit.
	ConnectTimeout, ResponseTimeout, StallTimeout time.Duration

	// Tries is how often in a row a request is tried while the failures are transient; 0 is 5. A
	// download that breaks continues where it broke, and 64 KiB of progress reset the count.
	Tries int

	// RetryTimeout is how long after the first failure a request is tried again; 0 is 2 minutes. A
	// server that asks for a longer wait gets no further request.
	RetryTimeout time.Duration

	// RetryDelay is the pause before the second try; 0 is 250 ms. RateLimitedDelay is that pause
	// after the status 429; 0 is 10 s. Each further pause is twice as long, up to MaxRetryDelay; 0
	// is 60 s. Up to half of a pause is added at random, unless NoJitter is set.
	RetryDelay, RateLimitedDelay, MaxRetryDelay time.Duration
	NoJitter                                    bool

	// DownloadSpeed is how many bytes a second a body may have at most; 0 is no limit.
	DownloadSpeed int64

	// Parallel is how many small files are requested at once; 0 is 32. It is less if the process may open
	// few files, because each request may need a connection, and a program may have several caches open. Archives
	// are not counted.
	Parallel int

	// PositiveTTL and NegativeTTL are how long the store remembers a narinfo, and that there is
	// none. 0 is the default of Nix, 30 days and an hour; a negative TTL is no time at all.
	PositiveTTL, NegativeTTL time.Duration

	// Override changes options as the context of a call says. [Open] uses its Netrc and CAFile for as long as
	// the store is open. Every call uses its timeouts, number of tries, delays and TTLs. Other changes have no
	// effect. Nil changes nothing.
	Override func(ctx context.Context, opts *HTTPOptions)

	// CacheSize is how many bytes of narinfos are remembered; 0 is 16 MiB.
	CacheSize int
}

func (o *HTTPOptions) setDefaults() {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 15*time.Second)
	o.ResponseTimeout = cmp.Or(o.ResponseTimeout, 60*time.Second)
	o.StallTimeout = cmp.Or(o.StallTimeout, 60*time.Second)
	o.Tries = cmp.Or(o.Tries, 5)
	o.RetryTimeout = cmp.Or(o.RetryTimeout, 2*time.Minute)
	o.RetryDelay = cmp.Or(o.RetryDelay, 250*time.Millisecond)
	o.RateLimitedDelay = cmp.Or(o.RateLimitedDelay, 10*time.Second)
	o.MaxRetryDelay = cmp.Or(o.MaxRetryDelay, time.Minute)
	o.Parallel = min(cmp.Or(max(o.Parallel, 0), 32), max(2, descriptors.Limit()/32))
	o.PositiveTTL = cmp.Or(o.PositiveTTL, 30*24*time.Hour)
	o.NegativeTTL = cmp.Or(o.NegativeTTL, time.Hour)
	o.CacheSize = cmp.Or(o.CacheSize, 16<<20)
	o.UserAgent = cmp.Or(o.UserAgent, "pix")
}

// forCall returns the options of a call.
func (o *HTTPOptions) forCall(ctx context.Context) *HTTPOptions {
	if o.Override == nil {
		return o
	}
	changed := *o
	o.Override(ctx, &changed)
	changed.setDefaults()
	return &changed
}
