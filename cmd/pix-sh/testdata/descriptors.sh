exec 3>out; echo three >&3; exec 3>&-; cat out
{ echo err >&2; echo ok; } 2>&1 | sort
exec 4<out; read l <&4; echo "$l"
echo x >>out; while read l; do echo "[$l]"; done <out
sh -c 'echo inherited >&5' 5>&1
