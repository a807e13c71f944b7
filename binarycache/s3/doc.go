// Package s3 opens binary caches in buckets of S3, and of servers with the same protocol.
//
// A bucket is a cache behind HTTP whose requests are signed: [Open] translates the URI, finds the credentials, and opens a
// [binarycache.Store] with a client that signs. So timeouts, retries and limits are the ones of package binarycache. The
// package is separate because it imports AWS's own modules for credentials and signatures. [pix/binarycache] does not
// import it, and [pix.Open] opens such caches if Options.S3 is set to [Open].
//
// # Parameters
//
// The URI is s3://BUCKET[/PREFIX][?PARAMETERS]. The parameters and their defaults are the ones of Nix 2.34:
//
//	profile               the profile in AWS's configuration files (default)
//	region                the region of the bucket (us-east-1)
//	scheme                http or https (https)
//	endpoint              HOST[:PORT] or a URL of another server than AWS's
//	addressing-style      auto, path or virtual: whether the bucket is in the path or in the name of the host (auto)
//	multipart-upload      send large files in parts (false)
//	multipart-chunk-size  the size of a part in bytes (5 MiB)
//	multipart-threshold   the size above which a file is sent in parts (100 MiB)
//	storage-class         the storage class of new objects
//
// All others are parameters of caches behind HTTP: see [binarycache.Open].
//
// # Credentials
//
// The credentials come from the environment, then from where AWS's own tools find them: profiles, single sign-on, web
// identities, containers, and the service of the machine. Without credentials the requests are not signed, which is
// enough to read from a public bucket; the handler in the context gets a warning. Requests are signed only for the
// server of the cache: a server to which it redirects, or that a narinfo names, gets no signature. Credentials are replaced before
// they expire. When the server reports that they have expired, the search is repeated, except for the ones of the environment.
//
// # Reading order
//
//   - uri.go parses a URI and finds the URL of the bucket.
//   - open.go finds credentials and opens the cache.
//   - sign.go signs requests.
//   - error.go finds the reason for which a server refuses a request.
//
// Sources: src/libstore/s3-binary-cache-store.cc, s3-url.cc and aws-creds.cc in Nix 2.34.
package s3
