a=1; export b=2; c=3 sh -c 'echo "[$a]$b$c"'; echo "[$c]"
umask 027; : > file; stat -c %a file; umask -S; umask g=rx; umask
p=$$; [ "$p" = "$(echo $$)" ] && echo same
[ "$(sh -c 'echo $PPID')" = $$ ] || [ -n "$PPID" ] && echo parent
exec sh -c 'echo $0 $1' zero one
