;; Traps on a pod and decides everything else well. The host must keep the last good answers of the pods, or give them
;; the declared default, and decide the rest.
(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (if (i32.eq
        (call $subject-kind (call $subject (local.get $batch) (local.get $index)))
        (global.get $subject-kind=pod))
    (then unreachable))
  (call $put-choice (local.get $decision) (global.get $choice=direct)))
