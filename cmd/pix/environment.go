package main

import "github.com/spf13/cobra"

// newEnvironment is no verb, but a text that the help has.
func newEnvironment() *cobra.Command {
	return &cobra.Command{
		Use:   "environment",
		Short: "Environment variables that pix looks at",
		Long: `Environment variables that pix looks at. Flags overrule them.

  PIX_STORE               the store, as --store has it
  NIX_REMOTE              the same, if neither PIX_STORE nor store in nix.conf says it
  NIX_STORE_DIR           the store directory, as --store-dir has it
  NIX_DAEMON_SOCKET_PATH  the socket of the daemon of this machine
  NIX_STATE_DIR           where the state of Nix is: the database, and the socket, if the above does not
                          say it
  NIX_LOG_DIR             where logs of builds are
  NIX_SSHOPTS             arguments for ssh, for stores of other machines
  NIX_SSL_CERT_FILE       the file with the certificate authorities to trust, as ssl-cert-file; else
                          SSL_CERT_FILE
  NIX_IGNORE_SYMLINK_STORE  1 is allow-symlinked-store = true
  NIX_REMOTE_SYSTEMS, NIX_PATH  change builders and nix-path, which pix prints and does not obey
  NIX_CONF_DIR            where nix.conf and netrc are, by default /etc/nix
  NIX_CONFIG              settings, as in nix.conf
  NIX_USER_CONF_FILES     nix.conf of the user, several with colons between; else it is looked for in
                          NIX_CONFIG_HOME, XDG_CONFIG_HOME, XDG_CONFIG_DIRS and HOME
  XDG_DATA_HOME           where pix/ is, the store of a machine without Nix; else $HOME/.local/share
  LISTEN_FDS, LISTEN_PID  sockets that systemd hands over to 'pix daemon'
  HTTP_PROXY, NO_PROXY    proxies for binary caches, in lower case too, and HTTPS_PROXY
  SOURCE_DATE_EPOCH       the date of manual pages, in seconds since 1970
  NO_COLOR                if it is not empty, nothing is printed in colours
  PIX_PROGRESS            how to show what goes on, if --progress does not say so; plain is for screen readers
  PIX_CLOSURE_LIMIT       how much memory the closure may take of which a cache or a daemon tells, such as
                          1G; else 256M
  TERM                    dumb, or nothing, is a terminal that gets lines and no live view
  LC_ALL, LC_CTYPE, LANG  the first that is set says whether the live view may be drawn in UTF-8`,
	}
}
