// Package nixconf reads nix.conf, the configuration of Nix, as far as pix goes by it.
//
// A file has one setting a line, as name = value; what follows a # is a comment. A line
// "include FILE" reads another file in its place, "!include FILE" does so if that is there.
// A name with "extra-" before it adds to a list instead of replacing it. What comes later
// wins.
//
//	trusted-users = root @wheel
//	extra-trusted-public-keys = cache.example.org-1:…
//	!include local.conf
//
// Nix reads the file of the system, then those of the user, then what is in the variable
// NIX_CONFIG; so does [Load]. A [Conf] holds the settings that pix implements, with the
// defaults of Nix (but for substituters, of which there are none), and the names of all others
// that were set.
//
// Sources: src/libutil/configuration.cc and src/libstore/globals.cc in Nix 2.34.
package nixconf
