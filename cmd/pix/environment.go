package main

import "github.com/spf13/cobra"

// newEnvironment returns the help topic about environment variables.
func newEnvironment() *cobra.Command {
	return &cobra.Command{
		Use:   "environment",
		Short: "Environment variables that pix reads",
		Long: `Environment variables that pix reads. Flags override them.

  PIX_STORE               the URI of the store, like --store
  NIX_REMOTE              the same, if neither PIX_STORE nor store in nix.conf is set
  NIX_STORE_DIR           the store directory, like --store-dir
  NIX_DAEMON_SOCKET_PATH  the socket of the daemon of this machine
  NIX_STATE_DIR           the directory for the state of Nix: the database, and the socket unless the
                          variable above is set
  NIX_LOG_DIR             the directory for build logs
  NIX_SSHOPTS             arguments for ssh, for stores on other machines
  NIX_SSL_CERT_FILE       the file of trusted certificate authorities, like ssl-cert-file; then
                          SSL_CERT_FILE
  NIX_IGNORE_SYMLINK_STORE  1 means allow-symlinked-store = true
  NIX_REMOTE_SYSTEMS      files with builders
  NIX_PATH                sets nix-path, which pix prints and ignores
  NIX_CONF_DIR            the directory of nix.conf and netrc, by default /etc/nix
  NIX_CONFIG              settings, as in nix.conf
  NIX_USER_CONF_FILES     the user's nix.conf files, separated by colons; by default in
                          NIX_CONFIG_HOME, XDG_CONFIG_HOME, XDG_CONFIG_DIRS and HOME
  XDG_DATA_HOME           the directory of pix/, the store on a machine without Nix; by default
                          $HOME/.local/share
  XDG_STATE_HOME          the directory of nix/profiles, the user's profiles, of pix/push, the state
                          of 'pix push', and of pix/build-times, the durations of builds for
                          estimates, for users who may not write to the log directory; by default
                          $HOME/.local/state
  NIX_STATE_HOME          the directory of the user's profiles instead of XDG_STATE_HOME/nix
  NIX_PROFILE             the symlink of the profile, like --profile of 'pix profile'
  LISTEN_FDS, LISTEN_PID  sockets that systemd passes to 'pix daemon'
  HTTP_PROXY, NO_PROXY    proxies for binary caches and for builds with a fixed output hash, also in
                          lower case, and HTTPS_PROXY
  AWS_ACCESS_KEY_ID, ...  credentials for s3://BUCKET, with all variables of AWS's own tools
  XDG_RUNTIME_DIR         the directory of the file by which 'pix view' opens the browser
  DISPLAY, WAYLAND_DISPLAY, WSL_DISTRO_NAME
                          if none is set, 'pix view' prints the address instead, except on macOS
  SHELL                   the shell that 'pix shell' starts, by default /bin/sh
  PATH                    the directories where 'pix shell -c' finds commands
  SOURCE_DATE_EPOCH       the date of manual pages, in seconds since 1970
  NO_COLOR                if it is not empty, no colours are printed
  PIX_PROGRESS            the default of --progress; plain is for screen readers
  PIX_PAGER, PAGER        the command that shows long output of 'pix explain' and 'pix docs' on a
                          terminal, by default less; cat prints it directly
  LESS                    the flags of less, by default FRX
  PIX_CLOSURE_LIMIT       the memory limit for a closure that a cache or a daemon reports, such as 1G;
                          by default 256M
  TERM                    if it is dumb or empty, lines are printed instead of the live view
  LC_ALL, LC_CTYPE, LANG  the first that is set decides whether the live view is drawn in UTF-8`,
	}
}
