package binarycache

import (
	"net/http"
	"net/url"
	"time"

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

	// Proxy and ConnectTimeout are for the store's own client. Proxy says which proxy a
	// request takes, such as [http.ProxyFromEnvironment]; nil is none.
	Proxy          func(*http.Request) (*url.URL, error)
	ConnectTimeout time.Duration // for a connection, and then for its TLS handshake; 0 is 15 s

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

	// ResponseTimeout is how long the server may take for an answer to begin, connecting
	// included; 0 is 60 s.
	ResponseTimeout time.Duration

	// StallTimeout is how long somebody may wait for 1024 bytes of a body; 0 is 60 s.
	StallTimeout time.Duration

	// Tries is how often in a row something is tried that may go better the next time; 0
	// is 5. A download that breaks goes on where it broke, and 64 KiB of progress make the
	// count start anew.
	Tries int

	// RetryTimeout is how long after its first failure something is tried again; 0 is 2
	// minutes. A server that wants more patience than this gets none.
	RetryTimeout time.Duration

	// Parallel is how many small files are asked for at once; 0 is 32. Archives are not
	// counted.
	Parallel int

	// PositiveTTL and NegativeTTL are how long a narinfo is remembered, and that there is
	// none; 0 is what Nix does, 30 days and an hour.
	PositiveTTL, NegativeTTL time.Duration

	// CacheSize is how many bytes of narinfos are remembered; 0 is 16 MiB.
	CacheSize int
}

// orDefault makes a value that is not positive the default.
func orDefault[T int | time.Duration](value *T, standard T) {
	if *value <= 0 {
		*value = standard
	}
}

func (o *HTTPOptions) setDefaults() {
	orDefault(&o.ConnectTimeout, 15*time.Second)
	orDefault(&o.ResponseTimeout, 60*time.Second)
	orDefault(&o.StallTimeout, 60*time.Second)
	orDefault(&o.Tries, 5)
	orDefault(&o.RetryTimeout, 2*time.Minute)
	orDefault(&o.Parallel, 32)
	orDefault(&o.PositiveTTL, 30*24*time.Hour)
	orDefault(&o.NegativeTTL, time.Hour)
	orDefault(&o.CacheSize, 16<<20)
	if o.UserAgent == "" {
		o.UserAgent = "pix"
	}
}
