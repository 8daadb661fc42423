;; Gives a reason that is no Kubernetes condition reason. The host must refuse the answer, and print the reason without
;; its line break.
(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (call $put-choice (local.get $decision) (global.get $choice=direct))
  (call $put-reason (local.get $decision) (i32.const 4096) (i32.const 16)))
(data (i32.const 4096) "not camel case!\n")
